"""The training loop, averages of weights, snapshots, resuming."""
