"""Pieces that networks of several kinds are made of."""
