"""Derived hyper-parameters: values that must follow another when it moves."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.config.playbook import (
    DYDIT_BATCH,
    DYDIT_STEPS,
    DYDIT_WARMUP_STEPS,
    DYDIT_XL_STEPS_AT_07,
)

if TYPE_CHECKING:
    from engine.config.experiment import Experiment


def lr_from_channels(anchor: "Experiment", point: "Experiment") -> float:
    """Learning rate of a widened U-Net: anchor lr / sqrt(C / anchor C) [P1 p11; playbook A.6].

    With iDDPM's anchor (C = 128, lr = 1e-4) this gives 1.41e-4, 1.15e-4, 1e-4, 8.16e-5 for C = 64, 96, 128,
    192.
    """
    anchor_width, width = anchor.model.reference_width, point.model.reference_width
    if anchor_width is None or width is None:
        raise ValueError(f"lr_from_channels scales with a U-Net's channels, which {point.model.kind} has not")
    return anchor.train.lr / math.sqrt(width / anchor_width)


def dydit_total_kimg(anchor: "Experiment", point: "Experiment") -> float:
    """Length of a DyDiT's fine-tuning for its size and budget, at 256 images a step [P5 Table 6; playbook
    A.2].

    S 50,000 steps, B 100,000, XL 200,000, but 150,000 for XL at a budget of 0.7.
    """
    size = _dydit_size(point, "dydit_total_kimg")
    ratio = getattr(point.model, "flops_ratio", 0.0)
    steps = DYDIT_XL_STEPS_AT_07 if size == "XL" and ratio == 0.7 else DYDIT_STEPS[size]
    return steps * DYDIT_BATCH / 1000


def dydit_complete_kimg(anchor: "Experiment", point: "Experiment") -> float:
    """Warm-up with L_complete for a DyDiT's size: 30,000 steps of 256 images for XL, else none [P5 Table
    6]."""
    return DYDIT_WARMUP_STEPS[_dydit_size(point, "dydit_complete_kimg")] * DYDIT_BATCH / 1000


def _dydit_size(point: "Experiment", rule: str) -> str:
    size = point.model.published_size
    if size is None:
        raise ValueError(
            f"{rule} knows DyDiT's sizes S, B and XL of P5's Table 6, and this {point.model.kind} is none of them"
        )
    return size


LINKED_RULES: dict[str, Callable[["Experiment", "Experiment"], float]] = {
    "lr_from_channels": lr_from_channels,
    "dydit_total_kimg": dydit_total_kimg,
    "dydit_complete_kimg": dydit_complete_kimg,
}
"""Rules a grid's `linked:` block may name; each maps (recipe anchor, point of the grid) to the linked
value."""
