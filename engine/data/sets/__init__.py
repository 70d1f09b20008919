"""Data sets, one file each; `engine.data.registry` finds them."""
