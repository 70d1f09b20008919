"""One file a command: its name, its options and its output; the work is done elsewhere."""
