"""The names of all shipped work: a change that renames any of it makes users train again what they have."""

import json
from pathlib import Path

import pytest
from record_identities import GRIDS, Names, names_of, shipped

ROOT = Path(__file__).resolve().parents[3]


def recorded(version: str) -> dict[str, Names]:
    names: dict[str, Names] = json.loads((ROOT / "tests" / "data" / f"identities_{version}.json").read_text())
    return names


NOW, BEFORE = recorded("0.5.0"), recorded("0.4.0")

TRAININGS_RENAMED = {
    "capacity": "trainings with augmentation",
    "edm_networks": "trainings with augmentation",
    "edm_stochastic": "trainings with augmentation",
    "edm_table5": "trainings with augmentation",
    "dydit_flops": "DyDiT's fine-tunings",
}
"""Grids whose trainings are other ones than in 0.4.0, as their results changed, and the changelog's words for it."""

CELLS_RENAMED = {
    "attention_placement": "samplers keep to the noise levels that a network was shown",
    "dropout_schedule": "samplers keep to the noise levels that a network was shown",
    "few_step": "cells that measure bounds with covariance `analytic` or `ocm`",
    "learned_variance": "samplers keep to the noise levels that a network was shown",
    "objectives": "samplers keep to the noise levels that a network was shown",
    "ocm_variance": "samplers keep to the noise levels that a network was shown",
    "unet_channels": "samplers keep to the noise levels that a network was shown",
}
"""Grids whose trainings kept their names, but not all selections and cells."""

# Planning all 13,068 points takes seconds.
LARGE = {"edm_table5", "edm_table5 --smoke"}


def cases(grids: list[str]) -> list[object]:
    return [pytest.param(grid, marks=pytest.mark.slow if grid in LARGE else ()) for grid in grids]


def stem(grid: str) -> str:
    return grid.split(" ")[0]


@pytest.mark.parametrize("grid", cases(shipped()))
def test_a_shipped_grid_means_the_work_that_is_recorded(grid: str) -> None:
    assert names_of(grid) == NOW[grid]


@pytest.mark.parametrize("grid", sorted(BEFORE))
def test_what_was_not_corrected_has_the_names_that_0_4_0_gave_it(grid: str) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text().replace("\n  ", " ")
    if stem(grid) in TRAININGS_RENAMED:
        assert TRAININGS_RENAMED[stem(grid)] in changelog
        assert NOW[grid] != BEFORE[grid]
    elif stem(grid) in CELLS_RENAMED:
        assert CELLS_RENAMED[stem(grid)] in changelog
        assert trainings(NOW[grid]) == trainings(BEFORE[grid])
        assert NOW[grid] != BEFORE[grid]
    else:
        assert NOW[grid] == BEFORE[grid]


def trainings(names: Names) -> list[object]:
    """The names of a grid's trainings, without those of their selections."""
    pairs = names["trainings"]
    assert isinstance(pairs, list)
    return [pair[0] for pair in pairs if isinstance(pair, list)]


def test_every_grid_of_0_4_0_is_still_shipped() -> None:
    assert {stem(grid) for grid in BEFORE} <= {path.stem for path in GRIDS.glob("*.yaml")}
