"""Figures of a report and of the commands that plot: one file each; `reports.figures.registry` finds the report's."""
