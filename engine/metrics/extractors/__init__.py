"""Feature extractors: what each tells of itself, and the list of them. No torch until one is built."""
