"""What lies in the store and what one package hands to the next, written once: names of files, records,
tables, facts of metrics, constants of the protocol. Imports no torch and nothing else of ours."""
