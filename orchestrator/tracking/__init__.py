"""The mirror in MLflow: never the truth, rebuilt from the store."""
