"""Generation: keyed noise, batches of one shape, shared runs over common prefixes."""
