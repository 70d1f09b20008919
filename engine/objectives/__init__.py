"""Objectives, one file a kind: its configuration, its place in the design space, its loss, what it goes with.

No kind imports torch before its loss is asked for; the losses themselves are in `losses/`.
"""
