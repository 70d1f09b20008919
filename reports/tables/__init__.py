"""Tables of a report: one file each; `reports.tables.registry` finds them."""
