"""The shared diffusion engine: what a diffusion model is, how it trains, samples and is measured."""

ENGINE_VERSION = "2"
"""Part of every training's identity: raise it when a change alters the numbers a training produces."""
