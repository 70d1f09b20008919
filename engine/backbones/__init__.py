"""The networks, one folder a kind: its configuration, its
network, what it costs and what it was published as."""
