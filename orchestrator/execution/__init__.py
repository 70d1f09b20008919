"""The driver and Ray: what is missing runs on workers, then tables, mirror and report follow."""
