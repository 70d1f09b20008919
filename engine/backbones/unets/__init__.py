"""What the U-Nets have in common: settings, layout, cost,
activations, and the network around their blocks."""
