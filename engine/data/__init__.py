"""Data sets, one file each in `sets/`, and what training does to their images."""
