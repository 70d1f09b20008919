"""Sweeps whose cells were drawn several times with fresh latents, as `orch sweep --confirm` leaves them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reports.document.headline import answer, title
from reports.document.reproducibility import what_ran
from reports.figures import churn
from reports.read.grouping import overview
from reports.tables import nfe_quality, sampler_grid

Cells = list[dict[str, Any]]


@pytest.fixture
def seen(write: Callable[..., Any]) -> Callable[[Cells], Any]:
    """The overview of cells that were each drawn with seeds 1, 2 and 3, every further one 0.03 higher."""

    def drawn(cells: Cells) -> Any:
        copies = [
            {
                **one,
                "sample_seed": seed,
                "cell_id": f"{one['cell_id']}-{seed}",
                "metrics": {**one["metrics"], "fd_classifier": one["metrics"]["fd_classifier"] + 0.03 * seed},
            }
            for one in cells
            for seed in (1, 2, 3)
        ]
        return overview(write(copies).read())

    return drawn


@pytest.fixture
def winner(make_cell: Callable[..., Any], seen: Callable[[Cells], Any]) -> Any:
    """One configuration alone."""
    return seen([make_cell({"model.channels": 24}, {"kind": "euler", "num_steps": 9}, 6.0)])


def names(table: Any) -> Sequence[str]:
    return [column.name for column in table.columns]


def test_a_winner_alone_has_a_table_with_the_lowest_of_its_sets_and_their_spread(winner: Any) -> None:
    table = nfe_quality.build(winner)
    assert table is not None
    [row] = table.frame.to_dict("records")
    assert row["fd_classifier"] == pytest.approx(6.06)
    assert row["fd_classifier lowest"] == pytest.approx(6.03)
    assert row["fd_classifier sampling std"] == pytest.approx(0.03)
    assert {"fd_classifier lowest", "fd_classifier sampling std"} <= set(names(table))
    assert "the mean of 3 sets of images" in answer(winner)[0]


def test_a_single_winner_is_named_by_its_grid_values(winner: Any) -> None:
    assert title(winner) == "C = 24, Euler 9"


def test_the_sampling_seeds_are_those_of_the_cells(winner: Any) -> None:
    facts = {name: value for group in what_ran(winner).facts for name, value in group.items}
    assert facts["sampling seeds"] == "1, 2 and 3"


def test_each_of_several_samplers_of_one_cost_has_its_lowest_and_spread_once(
    make_sampler_cells: Callable[..., Cells], seen: Callable[[Cells], Any]
) -> None:
    several = seen(make_sampler_cells(4))
    table = sampler_grid.build(several)
    assert table is not None
    assert len(table.frame) == 5
    assert {"fd_classifier lowest", "fd_classifier sampling std"} <= set(names(table))
    assert nfe_quality.build(several) is None


def test_a_figure_of_churn_names_heun_only_where_it_is(
    make_cell: Callable[..., Any], write: Callable[..., Any]
) -> None:
    def drawn(churns: Sequence[float], name: str) -> Any:
        samplers = [{"kind": "edm_stochastic", "num_steps": 18, "s_churn": value} for value in churns]
        cells = [make_cell({"sample.s_churn": one["s_churn"]}, one, 4.0 + one["s_churn"]) for one in samplers]
        return churn.plot(overview(write(cells, name).read()))

    assert "Square and dashed line" in drawn((0.0, 10.0, 20.0), "with").caption
    assert "Square" not in drawn((10.0, 20.0, 30.0), "without").caption
