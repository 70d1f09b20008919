"""Feature extractors, one file each; `engine.metrics.extractors.registry` finds them."""
