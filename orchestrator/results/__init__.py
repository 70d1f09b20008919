"""From finished units in the store to a sweep's tables and manifest."""
