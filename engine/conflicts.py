"""Sections of an experiment that do not fit together, as the kinds that know it say it."""

ConfigConflict = tuple[tuple[str, ...], str]
"""The dotted fields or sections that are at odds, the likeliest fault first, and why, in words."""
