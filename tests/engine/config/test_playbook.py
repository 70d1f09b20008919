"""Knob groups: the shared ones, and what a kind of network puts into them."""

from typing import ClassVar

import pytest

from engine.backbones.mlp.config import Mlp
from engine.config.playbook import KNOB_GROUPS, knob_groups


class Wide(Mlp):
    """A network with knobs of its own."""

    knob_groups: ClassVar = {"scale": ("expansion", "depth"), "architecture": ("mixing",)}


class Lost(Mlp):
    """A network whose knobs are in no group that there is."""

    knob_groups: ClassVar = {"size": ("expansion",)}


def test_a_networks_own_knobs_come_before_the_shared_ones_and_each_once() -> None:
    groups = knob_groups([Wide])
    assert groups["scale"] == (
        "model.expansion", "model.depth", "model.channels", "model.width", "model.num_heads", "train.lr"
    )  # fmt: skip
    assert groups["architecture"][0] == "model.mixing"
    assert groups["sampler"] == ("sample",)


def test_a_group_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"Lost.knob_groups: 'size' is no knob group; there are: scale, budget"
    ):
        knob_groups([Lost])


def test_a_budget_is_a_dydits_and_the_length_of_its_fine_tuning() -> None:
    assert KNOB_GROUPS["budget"] == (
        "model.flops_ratio", "model.flops_weight", "model.routes", "model.ramp", "model.dense_kimg",
        "model.ramp_kimg", "model.complete_kimg", "train.lr", "train.total_kimg", "train.grad_clip",
    )  # fmt: skip
