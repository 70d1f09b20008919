"""Samplers: each takes a denoiser and unit noise and gives images; none imports torch when only planned.

A module that defines one is all there is to do: `registry` finds it.
"""
