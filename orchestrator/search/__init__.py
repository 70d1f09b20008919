"""Which points come next: Optuna's proposals, the coordinate walk. Knows no Ray."""
