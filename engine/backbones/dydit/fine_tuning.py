"""How long and how a DyDiT is fine-tuned, by its size and
budget [P5 Table 6 and code; playbook A.2]. No torch."""

from collections.abc import Mapping

from engine.backbones.linked_rules import LinkedPoint, LinkedRule

# DyDiT's fine-tuning steps and warm-up steps of L_complete, at 256 images a step [P5 Table 6; playbook A.2].
DYDIT_BATCH = 256
DYDIT_STEPS = {"S": 50_000, "B": 100_000, "XL": 200_000}
DYDIT_XL_STEPS_AT_07 = 150_000
DYDIT_WARMUP_STEPS = {"S": 0, "B": 0, "XL": 30_000}

# DyDiT's released code, which has XL alone.
# At a budget of 0.7: a slower ramp, L_complete to the end, a lower rate.
DYDIT_RELEASED_RAMP_STEPS = {0.5: 1_000, 0.7: 5_000}
DYDIT_RELEASED_WARMUP_STEPS = {0.5: 30_000, 0.7: 150_000}
DYDIT_RELEASED_LR = {0.5: 1e-4, 0.7: 2.5e-5}


def dydit_total_kimg(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Length of a DyDiT's fine-tuning for its size and budget,
    at 256 images a step [P5 Table 6; playbook A.2].

    S 50,000 steps, B 100,000, XL 200,000, but 150,000 for XL at a budget of 0.7.
    """
    size = _dydit_size(point, "dydit_total_kimg")
    steps = DYDIT_STEPS[size]
    if size == "XL" and point.model.budget_ratio == 0.7:
        steps = DYDIT_XL_STEPS_AT_07
    return steps * DYDIT_BATCH / 1000


def dydit_complete_kimg(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Warm-up with L_complete for a DyDiT's size:
    30,000 steps of 256 images for XL, else none [P5 Table 6]."""
    return DYDIT_WARMUP_STEPS[_dydit_size(point, "dydit_complete_kimg")] * DYDIT_BATCH / 1000


def dydit_complete_kimg_released(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Warm-up with L_complete in DyDiT's released code:
    XL's at a budget of 0.7 goes on to the end [P5, code]."""
    return _released(DYDIT_RELEASED_WARMUP_STEPS, point, "dydit_complete_kimg_released") * DYDIT_BATCH / 1000


def dydit_ramp_kimg_released(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Where the released ramp meets the budget:
    after 1,000 steps, at a budget of 0.7 after 5,000 [P5, code]."""
    return _released(DYDIT_RELEASED_RAMP_STEPS, point, "dydit_ramp_kimg_released") * DYDIT_BATCH / 1000


def dydit_lr_released(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Learning rate in DyDiT's released code, a quarter of Table 6's at a budget of 0.7 [P5, code]."""
    return _released(DYDIT_RELEASED_LR, point, "dydit_lr_released")


def _released(table: Mapping[float, float], point: LinkedPoint, rule: str) -> float:
    """The entry of XL's budget: the code has two, and no other size."""
    ratio = point.model.budget_ratio
    if _dydit_size(point, rule) != "XL" or ratio is None or ratio not in table:
        raise ValueError(
            f"{rule} knows P5's released code, which has DyDiT-XL at budgets of 0.5 and 0.7 alone"
        )
    return table[ratio]


def _dydit_size(point: LinkedPoint, rule: str) -> str:
    size = point.model.published_size
    if size is None:
        raise ValueError(
            f"{rule} knows DyDiT's sizes S, B and XL of P5's "
            f"Table 6, and this {point.model.kind} is none of them"
        )
    return size


FINE_TUNING_RULES: dict[str, LinkedRule] = {
    "dydit_total_kimg": dydit_total_kimg,
    "dydit_complete_kimg": dydit_complete_kimg,
    "dydit_complete_kimg_released": dydit_complete_kimg_released,
    "dydit_ramp_kimg_released": dydit_ramp_kimg_released,
    "dydit_lr_released": dydit_lr_released,
}
"""Rules of a DyDiT that a grid's `linked:` block may name."""
