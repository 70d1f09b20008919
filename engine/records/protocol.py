"""Constants of the protocol that published numbers are measured under [P3 p19; playbook 5.5]."""

FULL_SAMPLES = 50_000
"""Generated images of a published FID, held against the whole training set."""
SAMPLE_SETS = 3
"""Sets of generated images, of which papers report the lowest or the mean."""
