"""The best samplers of a grid, against intervals worked out by hand from the fixture."""

import pytest

from reports.read.grouping import overview
from reports.tables import best_samplers


def build(folder):
    return best_samplers.build(overview(folder.read()))


def texts(table):
    return [[shown.text for shown in row] for row in table.rows]


def without_values(cells):
    return [{name: value for name, value in one.items() if name != "jackknife"} for one in cells]


def test_the_ten_best_and_the_deterministic_baseline_are_shown_with_their_ranks(sampler_sweep):
    table = build(sampler_sweep)
    assert [row[0] for row in texts(table)] == [*map(str, range(1, 11)), "13"]
    assert texts(table)[0] == ["1", "10", "3.00", "—", "best"]
    assert texts(table)[-1] == ["13", "0", "5.00", "+2.00", "worse"]
    assert table.caption.startswith(
        "The 10 best of 13 samplers. Last: EDM 18 churn 0, deterministic at the cost of"
    )


def test_intervals_are_paired_and_ties_are_marked(sampler_sweep):
    rows = build(sampler_sweep).rows
    # 2.262 standard errors of 3 * 0.05 are 0.339: gaps of 0.1, 0.2 and 0.3 hold 0, 0.4 does not.
    assert [(row[3].text, row[3].interval, row[4].text) for row in rows[1:5]] == [
        ("+0.10", "[−0.24, +0.44]", "≈ not told apart"),
        ("+0.20", "[−0.14, +0.54]", "≈ not told apart"),
        ("+0.30", "[−0.04, +0.64]", "≈ not told apart"),
        ("+0.40", "[+0.06, +0.74]", "worse"),
    ]


def test_the_caption_says_on_how_much_and_that_the_best_is_partly_luck(sampler_sweep):
    caption = build(sampler_sweep).caption
    assert "sampling noise only, paired on common latents" in caption
    assert "10 blocks of the 2,000 images of a cell" in caption
    assert "holds 0, as it does for 3 of the 12 others" in caption
    assert "The lowest of 13 noisy values is partly luck" in caption


def test_cells_without_values_have_gaps_but_no_intervals(write, make_sampler_cells):
    table = build(write(without_values(make_sampler_cells())))
    assert "against_best" not in {column.name for column in table.columns}
    assert [(row[3].text, row[3].interval) for row in table.rows[:2]] == [("—", ""), ("+0.10", "")]
    assert "No intervals" in table.caption


def test_a_cell_without_values_among_others_has_no_verdict(write, make_sampler_cells):
    cells = make_sampler_cells()
    table = build(write([*cells[:1], *without_values(cells[1:2]), *cells[2:]]))
    assert [row[4].text for row in table.rows[:3]] == ["best", "—", "≈ not told apart"]


@pytest.mark.parametrize(("others", "shown"), [(5, 6), (4, None)])
def test_a_handful_of_samplers_is_no_grid(write, make_sampler_cells, others, shown):
    table = build(write(make_sampler_cells(others)))
    assert (table and len(table.frame)) == shown
    if table:
        assert table.caption.startswith("All 6 samplers, best first.")


def test_samplers_are_ranked_on_the_best_training(write, make_cell):
    samplers = [{"kind": "heun", "num_steps": steps} for steps in range(9, 15)]
    cells = [
        make_cell({"model.channels": channels}, sampler, 9.0 - channels / 16 - sampler["num_steps"] / 100)
        for channels in (16, 32)
        for sampler in samplers
    ]
    table = build(write(cells))
    assert set(table.frame["training"]) == {"C = 32"}
    assert texts(table)[0] == ["1", "Heun 14", "27", "6.86", "—"]
    assert "6 samplers of C = 32" in table.caption


def test_an_unfinished_distance_has_no_rank(write, make_sampler_cells):
    cells = make_sampler_cells(6)
    cells[0]["metrics"]["fd_classifier"] = float("inf")
    table = build(write(cells))
    assert texts(table)[0][1] == "20"
    assert len(table.frame) == 6
