"""Measuring trained models under the protocol:
choosing the snapshot, asking the metrics, checking samplers."""
