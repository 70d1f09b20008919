"""Measurements: one file a metric in `kinds/`, one a feature
space in `extractors/`, and what they compute with."""
