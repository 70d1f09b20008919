"""Metrics, one measurement a file; `engine.metrics.registry` finds them."""
