"""The losses: each adds noise to images at given noise levels, denoises, weighs and squares. Needs torch."""
