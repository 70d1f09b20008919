"""Headers of safetensors files: of a training's weights, and of images that wait to be measured."""

from typing import Literal

from engine.records.record import Record

CurveRow = tuple[float, str, float]
"""(kimg, name, value)"""


class SnapshotHeader(Record):
    """Of weights kept for reporting."""

    images_shown: int
    weights: str
    """Name of the average."""
    fell_back_to_fp32: bool = False
    """Whether training had left the precision of the settings by then."""


class CheckpointHeader(Record):
    """Of the state for resuming: what is no tensor."""

    step: int
    curves: tuple[CurveRow, ...]
    seconds: float
    """Spent on training so far."""
    precision: Literal["fp32", "bf16", "fp16"]
    """What the network computes in now."""
    scaler: dict[str, float] | None = None
    """State of the loss scale, where the precision has one."""


class SpooledHeader(Record):
    """Of a batch of a cell's images that waits to be measured: what sampling it cost."""

    seconds: float
    evaluations: int
    """Images times network evaluations, padding included; what a shared run had in common is counted once."""
