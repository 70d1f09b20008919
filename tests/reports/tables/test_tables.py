"""Tables against values worked out by hand from the fixtures."""

import math

import pytest

from reports.read.grouping import overview
from reports.tables.registry import TABLES
from reports.tables.table import MAX_SHOWN_ROWS, Column, Table, frame_of


def build(folder, name):
    return TABLES[name].build(overview(folder.read()))


def texts(table):
    return [[shown.text for shown in row] for row in table.rows]


def test_scale_quality_has_a_row_a_training_at_the_reference_sampler(scale_sweep):
    table = build(scale_sweep, "scale_quality")
    assert texts(table) == [
        ["16", "250 k", "1.50 M", "96", "7.75", "0.500", "0.250", "2.00", "1,234"],
        ["32", "1.00 M", "6.00 M", "96", "5.00", "0.500", "0.250", "2.00", "1,234"],
    ]
    assert "Heun 40, with 79 network evaluations" in table.caption


def test_scale_quality_names_published_networks_where_there_is_one(write, make_scale_cells):
    cells = make_scale_cells()
    for one in cells:
        one["network"] = "Known" if one["axes"]["model.channels"] == 32 else ""
    table = build(write(cells), "scale_quality")
    assert [row[:3] for row in texts(table)] == [["16", "custom", "250 k"], ["32", "Known", "1.00 M"]]


def test_only_the_best_value_is_bold_and_never_a_column_of_equals(scale_sweep):
    rows = build(scale_sweep, "scale_quality").rows
    assert [[shown.text for shown in row if shown.best] for row in rows] == [[], ["5.00"]]


def test_intervals_appear_from_three_training_seeds(seeded_sweep):
    table = build(seeded_sweep, "scale_quality")
    # C = 16 at Heun 40: 7.75, 7.85, 7.95; half width t(0.975, 2) * 0.1 / sqrt(3) = 0.248.
    assert (table.rows[0][4].text, table.rows[0][4].interval) == ("7.85", "[7.60, 8.10]")
    assert "Mean [95% t-interval] over 3 training seeds." in table.caption


def test_a_single_training_has_no_scale_table(churn_sweep):
    assert build(churn_sweep, "scale_quality") is None


def test_a_training_without_the_reference_sampler_is_named(write, make_cell):
    heun, euler = {"kind": "heun", "num_steps": 18}, {"kind": "euler", "num_steps": 18}
    solvers = {16: heun, 32: heun, 64: euler}
    cells = [make_cell({"model.channels": channels}, solver, 5.0) for channels, solver in solvers.items()]
    table = build(write(cells), "scale_quality")
    assert len(table.frame) == 2
    assert "Not measured there: C = 64." in table.caption


def test_nfe_quality_is_sorted_by_cost_with_a_column_a_training(scale_sweep):
    table = build(scale_sweep, "nfe_quality")
    assert [row[:4] for row in texts(table)] == [
        ["Heun 9", "17", "8.50", "6.25"],
        ["Euler 18", "18", "9.00", "6.50"],
        ["Heun 18", "35", "8.00", "6.00"],
        ["EDM 18 churn 30", "35", "7.50", "6.50"],
        ["Heun 40", "79", "7.75", "5.00"],
    ]
    assert table.groups == [("", 1), ("", 1), ("fd_classifier ↓", 2), ("precision ↑", 2), ("recall ↑", 2)]
    assert list(table.frame["fd_classifier (C = 32)"]) == [6.25, 6.5, 6.0, 6.5, 5.0]


def test_the_three_sets_of_one_winner_are_a_table_with_their_minimum(write, make_cell):
    heun = {"kind": "heun", "num_steps": 18}
    cells = [
        make_cell({}, heun, distance, sample_seed=seed) for seed, distance in ((1, 3.0), (2, 2.5), (3, 3.5))
    ]
    table = build(write(cells), "nfe_quality")
    assert len(table.frame) == 1
    assert (table.frame["fd_classifier"][0], table.frame["fd_classifier lowest"][0]) == (3.0, 2.5)


def test_nfe_quality_says_how_many_beaten_samplers_it_leaves_out(write, make_cell):
    grid = [(steps, churn) for steps in (18, 40) for churn in (10.0, 20.0)]
    samplers = [{"kind": "edm_stochastic", "num_steps": steps, "s_churn": churn} for steps, churn in grid]
    cells = [
        make_cell({"sample.s_churn": one["s_churn"], "sample.num_steps": one["num_steps"]}, one, distance)
        for one, distance in zip(samplers, (4.0, 3.0, 2.0, 5.0), strict=True)
    ]
    table = build(write(cells), "nfe_quality")
    assert [row[0] for row in texts(table)] == ["EDM 18 churn 20", "EDM 40 churn 10"]
    assert "Left out: 2 samplers" in table.caption


def test_nfe_quality_does_not_apply_to_one_cost(churn_sweep):
    assert build(churn_sweep, "nfe_quality") is None


def test_sampler_grid_holds_every_cell_against_the_deterministic_one(churn_sweep):
    assert texts(build(churn_sweep, "sampler_grid")) == [
        ["10", "1.007", "35", "1", "3.00", "−1.00", "−25.0%", "0.500", "0.250"],
        ["10", "1", "35", "1", "3.50", "−0.50", "−12.5%", "0.500", "0.250"],
        ["20", "1", "35", "1", "3.80", "−0.20", "−5.0%", "0.500", "0.250"],
        ["0", "—", "35", "2", "4.00", "—", "—", "0.500", "0.250"],
        ["20", "1.007", "35", "1", "4.20", "+0.20", "+5.0%", "0.500", "0.250"],
    ]


def test_a_single_sampler_axis_keeps_its_order(write, make_cell):
    values = {0.0: 4.0, 10.0: 3.0, 20.0: 5.0}
    sampler = {"kind": "edm_stochastic", "num_steps": 18}
    cells = [
        make_cell({"sample.s_churn": c}, {**sampler, "s_churn": c}, d) for c, d in reversed(values.items())
    ]
    table = build(write(cells), "sampler_grid")
    assert [row[0] for row in texts(table)] == ["0", "10", "20"]
    assert table.caption.startswith("In grid order.")


def test_sampler_grid_does_not_apply_when_only_solver_and_steps_vary(scale_sweep):
    assert build(scale_sweep, "sampler_grid") is None


@pytest.mark.parametrize("name", list(TABLES))
def test_every_shown_column_and_every_id_is_in_the_frame(
    name, scale_sweep, churn_sweep, latents_sweep, sampler_sweep, chain_sweep, size_sweep
):
    folders = (scale_sweep, churn_sweep, latents_sweep, sampler_sweep, chain_sweep, size_sweep)
    tables = [table for folder in folders if (table := build(folder, name))]
    assert tables
    for table in tables:
        assert {column.name for column in table.columns} <= set(table.frame.columns)
        assert table.frame["cell_ids"].str.len().min() > 0
        assert all(row[0].note for row in table.rows)


def test_consistency_lists_each_solver_by_cost_with_the_agreement_of_every_training(
    latents_sweep, scale_sweep
):
    assert [row[:4] for row in texts(build(latents_sweep, "consistency"))] == [
        ["Euler 9", "9", "0.500", "0.375"],
        ["Euler 35", "35", "0.900", "0.775"],
        ["Heun 5", "9", "0.250", "0.125"],
        ["Heun 18", "35", "0.950", "0.825"],
    ]
    assert build(scale_sweep, "consistency") is None


def test_sampler_grid_has_no_gap_columns_where_nothing_deterministic_costs_the_same(write, make_cell):
    samplers = [{"kind": "ddim", "num_steps": 10, "eta": eta} for eta in (0.5, 1.0)]
    cells = [make_cell({"sample.eta": sampler["eta"]}, sampler, 3.0 + sampler["eta"]) for sampler in samplers]
    table = build(write(cells), "sampler_grid")
    assert "Δ" not in table.caption
    assert "difference" not in {column.name for column in table.columns}


def test_a_long_table_says_that_the_rest_is_in_the_file():
    frame = frame_of([{"value": float(number)} for number in range(MAX_SHOWN_ROWS + 5)])
    table = Table("long", "Long", "", frame, (Column("value", "value", "number", "lower"),))
    assert len(table.rows) == MAX_SHOWN_ROWS
    assert table.note == "The first 60 of 65 rows; all of them are in tables/long.csv."


def test_missing_and_infinite_values_are_shown_as_such():
    frame = frame_of([{"value": math.nan}, {"value": math.inf}, {"value": 2.5}, {"value": 3.5}])
    table = Table("t", "T", "", frame, (Column("value", "value", "number", "lower"),))
    assert [row[0].text for row in table.rows] == ["—", "∞", "2.50", "3.50"]
    assert [row[0].best for row in table.rows] == [False, False, True, False]
