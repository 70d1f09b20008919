"""Figures of a report and of the commands that plot: one file each; the registry finds the report's."""
