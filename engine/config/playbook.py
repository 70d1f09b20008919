"""The papers' discrete levels and tables as constants, each with its source."""

from collections.abc import Iterable

from engine.backbones.base import ModelBase
from engine.backbones.registry import BACKBONES

SHARED_KNOBS: dict[str, tuple[str, ...]] = {
    "scale": ("model.channels", "model.depth", "model.width", "model.num_heads", "train.lr"),
    "budget": ("train.lr", "train.total_kimg", "train.grad_clip"),
    "regularisation": (
        "model.dropout",
        "data.augment",
        "data.x_flip",
        "objective.schedule",
        "train.ema_halflife_kimg",
    ),
    "architecture": (
        "model.kind",
        "model.channel_mult",
        "model.num_blocks",
        "model.attention_resolutions",
        "model.patch_size",
    ),
    "optimisation": (
        "train.optimizer",
        "train.lr",
        "train.lr_rampup_kimg",
        "train.lr_first_step",
        "train.lr_decay",
        "train.lr_decay_kimg",
        "train.adam_betas",
        "train.adam_eps",
        "train.weight_decay",
        "train.batch_size",
        "train.grad_clip",
        "train.precision",
        "train.compile",
    ),
    "objective": ("objective",),
    "sampler": ("sample",),
    "weights": ("weights",),
}
"""Knob group -> paths that belong to it whichever network is trained."""


def knob_groups(backbones: Iterable[type[ModelBase]]) -> dict[str, tuple[str, ...]]:
    """The shared knobs, and before them those that the kinds of networks put into the same groups.

    Raises ValueError for a group that there is not: a kind adds knobs, and no groups.
    """
    groups = {name: dict.fromkeys(shared) for name, shared in SHARED_KNOBS.items()}
    for backbone in backbones:
        for group, fields in backbone.knob_groups.items():
            if group not in groups:
                known = ", ".join(groups)
                raise ValueError(
                    f"{backbone.__name__}.knob_groups: {group!r} is no knob group; there are: {known}"
                )
            own = dict.fromkeys(f"model.{field}" for field in fields)
            groups[group] = own | groups[group]
    return {name: tuple(paths) for name, paths in groups.items()}


KNOB_GROUPS = knob_groups(BACKBONES.values())
"""What one sweep may vary at a time [playbook 0.4, 1.8, 5.5]:
a group allows its paths and everything below them."""
