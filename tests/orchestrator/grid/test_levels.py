"""Playbook levels belong to a kind and its field: another kind's field of that name has its own."""

from pathlib import Path
from typing import Literal

import pytest

from engine.backbones.base import ModelBase
from engine.backbones.registry import BACKBONES
from orchestrator.errors import GridError
from orchestrator.grid import expand, load_sweep
from orchestrator.grid.levels import level_fault


class Plain(ModelBase):
    """A network of a newcomer, whose width the papers say nothing of."""

    kind: Literal["plain"] = "plain"
    width: int = 48


def grid(folder: Path, recipe: str, varies: str, rest: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(f"schema: orch/grid@1\nname: test\nrecipe: {recipe}\nvaries: {varies}\n{rest}\n")
    return path


def test_a_newcomers_width_is_not_measured_by_that_of_dit() -> None:
    assert level_fault("model.width", 100, {"model": (Plain,)}, ()) is None
    fault = level_fault("model.width", 100, {"model": (BACKBONES["dit"],)}, ())
    assert fault is not None
    assert fault.allowed == ("384", "768", "1024", "1152")


def test_where_one_of_a_grids_kinds_takes_any_width_so_does_the_grid() -> None:
    assert level_fault("model.width", 100, {"model": (BACKBONES["dit"], Plain)}, ()) is None


def test_a_grid_is_held_to_the_levels_of_the_kinds_it_has(tmp_path: Path) -> None:
    """The U-Net of iDDPM has 4 heads; 6 are DiT's."""
    with pytest.raises(GridError, match=r"6 is not a playbook level; allowed: 4; set off_playbook"):
        load_sweep(grid(tmp_path, "iddpm_cifar10", "scale", "axes: {model.num_heads: [4, 6]}"))


def test_a_kind_that_the_grid_varies_brings_its_levels(tmp_path: Path) -> None:
    churned = (
        "axes: {sample.kind: [heun, edm_stochastic]}\n"
        "when: [{if: {sample.kind: edm_stochastic}, axes: {sample.s_churn: [0, 7]}}]"
    )
    with pytest.raises(GridError, match="7 is not a playbook level; allowed: 0, 10, 20"):
        load_sweep(grid(tmp_path, "edm_digits", "sampler", churned))


def test_a_point_is_marked_by_the_levels_of_its_own_kinds(tmp_path: Path) -> None:
    heads = "off_playbook: true\naxes: {model.num_heads: [4, 8]}"
    points = expand(load_sweep(grid(tmp_path, "iddpm_cifar10", "scale", heads)))
    assert [point.off_playbook for point in points] == [(), ("model.num_heads = 8",)]
