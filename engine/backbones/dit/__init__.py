"""DiT, a transformer over patches."""
