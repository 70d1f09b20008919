"""DyDiT, a DiT that skips."""
