"""What a DyDiT may skip. Imports no torch."""

from typing import Literal

Route = Literal["heads", "groups", "tokens"]
"""Attention heads and MLP groups, chosen by noise level; tokens, each of which may pass the MLP by."""
