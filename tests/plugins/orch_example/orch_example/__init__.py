"""Kinds of every sort that a package may offer, as small as they can be."""
