"""Derived hyper-parameters: values that must follow another when it moves."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from engine.config.playbook import (
    DYDIT_BATCH,
    DYDIT_RELEASED_LR,
    DYDIT_RELEASED_RAMP_STEPS,
    DYDIT_RELEASED_WARMUP_STEPS,
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


def dydit_complete_kimg_released(anchor: "Experiment", point: "Experiment") -> float:
    """Warm-up with L_complete in DyDiT's released code: XL's at a budget of 0.7 goes on to the end [P5, code]."""
    return _released(DYDIT_RELEASED_WARMUP_STEPS, point, "dydit_complete_kimg_released") * DYDIT_BATCH / 1000


def dydit_ramp_kimg_released(anchor: "Experiment", point: "Experiment") -> float:
    """Where the released ramp meets the budget: after 1,000 steps, at a budget of 0.7 after 5,000 [P5, code]."""
    return _released(DYDIT_RELEASED_RAMP_STEPS, point, "dydit_ramp_kimg_released") * DYDIT_BATCH / 1000


def dydit_lr_released(anchor: "Experiment", point: "Experiment") -> float:
    """Learning rate in DyDiT's released code, a quarter of Table 6's at a budget of 0.7 [P5, code]."""
    return _released(DYDIT_RELEASED_LR, point, "dydit_lr_released")


def _released(table: Mapping[float, float], point: "Experiment", rule: str) -> float:
    """The entry of XL's budget: the code has two, and no other size."""
    ratio = point.model.budget_ratio
    if _dydit_size(point, rule) != "XL" or ratio is None or ratio not in table:
        raise ValueError(
            f"{rule} knows P5's released code, which has DyDiT-XL at budgets of 0.5 and 0.7 alone"
        )
    return table[ratio]


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
    "dydit_complete_kimg_released": dydit_complete_kimg_released,
    "dydit_ramp_kimg_released": dydit_ramp_kimg_released,
    "dydit_lr_released": dydit_lr_released,
}
"""Rules a grid's `linked:` block may name; each maps (recipe anchor, point of the grid) to the linked
value."""
