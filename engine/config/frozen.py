"""The base of every configuration, under its older name; it lives in `engine.frozen`."""

from engine.frozen import Frozen as Frozen
