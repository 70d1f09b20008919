"""Quality against the work of a forward pass, beside the numbers P5 published."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.records.tables import CURVES
from reports.figures import flops_quality as figure
from reports.figures.style import styled
from reports.read.grouping import overview
from reports.references import published_numbers
from reports.tables.registry import TABLES

HEUN = {"kind": "heun", "num_steps": 18}


def dynamic_cell(make_cell, budget, distance, seed=0, **extra):
    """A DyDiT that executes 0.02 more than its budget, in proportional time;
    without a budget, its static DiT."""
    axes = {"model.kind": "dydit", "model.flops_ratio": budget} if budget else {"model.kind": "dit"}
    axes |= {"train.seed": seed} if extra.pop("seeded", False) else {}
    share = budget + 0.02 if budget else 1.0
    model = {"kind": axes["model.kind"], **({"flops_ratio": budget} if budget else {})}
    one = make_cell(axes, HEUN, distance, train_seed=seed, macs=int(1e7 * (0.1 + 0.9 * share)), **extra)
    one["metrics"]["seconds_per_image"] = 0.004 * share
    one["metrics"] |= {"flops_ratio": share} if budget else {}
    return one | {"model": json.dumps(model)}


def table_of(folder):
    return TABLES["flops_quality"].build(overview(folder.read()))


def texts(table):
    return [[shown.text for shown in row] for row in table.rows]


def test_each_budget_has_its_executed_share_work_time_and_published_speed_up(write, make_cell):
    budgets = ((None, 5.0), (0.7, 5.5), (0.5, 8.0))
    table = table_of(write([dynamic_cell(make_cell, budget, value) for budget, value in budgets]))
    # MACs: 1e7 (0.1 + 0.9 share); the static one takes 4 ms, a share of it with the share;
    # Table 8's rows of DiT-S.
    assert texts(table) == [
        ["dit", "none", "—", "10.0 M", "5.00", "4.00", "1.00", "DiT-S", "1.00", "+0.00"],
        ["dydit", "0.5", "0.520", "5.68 M", "8.00", "2.08", "1.92", "DyDiT-S", "1.54", "+7.29"],
        ["dydit", "0.7", "0.720", "7.48 M", "5.50", "2.88", "1.39", "DyDiT-S", "1.27", "+1.55"],
    ]
    groups = [("", 1), ("", 1), ("share of FLOPs", 1), ("", 1), ("", 1), ("", 1), ("", 1), ("P5 Table 8", 3)]
    assert table.groups == groups
    assert "for orientation only" in table.caption


def test_published_rows_match_size_and_budget_or_are_left_out(write, make_cell):
    table = table_of(
        write([dynamic_cell(make_cell, budget, 5.0, network="DyDiT-B/2") for budget in (0.5, 0.55)])
    )
    assert [row[-3:] for row in texts(table)] == [["DyDiT-B", "1.70", "+3.85"], ["—", "—", "—"]]
    assert "for orientation only" not in table.caption


def test_budgets_that_do_not_vary_have_a_column_beside_what_was_reached(write, make_cell):
    cells = [dynamic_cell(make_cell, 0.5, 8.0 - depth) for depth in (2, 4)]
    for depth, one in zip((2, 4), cells, strict=True):
        one |= {
            "axes": {"model.depth": depth},
            "train_id": f"t{depth}",
            "cell_id": f"c{depth}",
            "macs": depth,
        }
    folder = write(cells)
    points = [("t2", 1.0, 0.9), ("t2", 2.0, 0.5125), ("t4", 1.0, 0.95), ("t4", 2.0, 0.53125)]
    rows = [
        {"train_id": t, "kimg": kimg, "name": "train/flops_ratio", "value": value}
        for t, kimg, value in points
    ]
    pq.write_table(pa.Table.from_pylist(rows, CURVES), folder.sweep / "curves.parquet")
    table = table_of(folder)
    assert [column.full_label for column in table.columns[:4]] == [
        "depth",
        "share of FLOPs budget",
        "share of FLOPs training",
        "share of FLOPs sampling",
    ]
    assert [row[1:4] for row in texts(table)] == [["0.500", "0.512", "0.520"], ["0.500", "0.531", "0.520"]]


def test_a_start_without_a_budget_is_called_by_its_network(write, make_cell):
    cells = [dynamic_cell(make_cell, budget, 5.0) for budget in (None, 0.7, 0.5)]
    for one in cells:
        del one["axes"]["model.kind"]
    seen = overview(write(cells).read())
    assert seen.trainings == ("FLOPs budget = 0.5", "FLOPs budget = 0.7", "dit")
    assert [row[0] for row in texts(TABLES["flops_quality"].build(seen))] == ["0.5", "0.7", "none"]
    with styled():
        axes = figure.plot(seen).figure.axes[0]
    assert {text.get_text() for text in axes.texts} == {"50%", "70%", "dit"}


def test_u_nets_have_no_columns_about_skipping(scale_sweep):
    table = table_of(scale_sweep)
    assert [column.name for column in table.columns] == [
        "model.channels", "macs", "fd_classifier", "seconds_per_image", "speed_up",
    ]  # fmt: skip


def test_equal_forward_costs_give_neither_table_nor_figure(write, make_cell):
    seen = overview(write([make_cell({"train.lr": lr}, HEUN, 5.0) for lr in (1e-3, 2e-3)]).read())
    assert TABLES["flops_quality"].build(seen) is None
    with styled():
        assert figure.plot(seen) is None


def test_executed_macs_are_the_mean_over_the_seeds(write, make_cell):
    cells = [dynamic_cell(make_cell, 0.5, 8.0, seed=seed, seeded=True) for seed in (0, 1)]
    cells[0]["macs"], cells[1]["macs"] = 100, 200
    (one,) = overview(write(cells).read()).configurations
    assert one.macs == 150


def test_the_frontier_holds_what_nothing_as_cheap_is_better_than(write, make_cell):
    budgets = ((None, 5.0), (0.7, 4.5), (0.5, 8.0), (0.4, 7.0))
    seen = overview(write([dynamic_cell(make_cell, budget, value) for budget, value in budgets]).read())
    with styled():
        axes = figure.plot(seen).figure.axes[0]
    band, *marks = axes.lines
    assert list(band.get_ydata()) == [
        7.0,
        4.5,
    ]  # 0.4, then 0.7; 0.5 and the static one are beaten by cheaper ones
    assert len(marks) == 4
    filled = {line.get_ydata()[0]: line.get_mfc() != "white" for line in marks}
    assert filled == {5.0: False, 4.5: True, 8.0: False, 7.0: True}
    assert {line.get_marker() for line in marks} == {"o", "s"}


# Table 8 itself.


@pytest.mark.parametrize("size", ["S", "B", "XL"])
def test_published_speed_ups_and_fid_changes_follow_from_the_columns_beside_them(size):
    table = published_numbers("dydit_table8")
    own = table[table["model"].str.endswith(f"-{size}")]
    (static,) = (row for row in own.itertuples() if row.model == f"DiT-{size}")
    for row in own.itertuples():
        # Printed times may be off by 0.005 s; the ratio was cut or rounded to 0.01.
        # Each FID is rounded by 0.005.
        least = (static.seconds_per_image - 0.005) / (row.seconds_per_image + 0.005) - 0.01
        most = (static.seconds_per_image + 0.005) / (row.seconds_per_image - 0.005) + 0.01
        assert least <= row.acceleration <= most
        assert row.fid_delta == pytest.approx(row.fid - static.fid, abs=0.015)
    assert own["flops_g"].is_monotonic_decreasing


def test_every_published_number_has_its_source():
    table = published_numbers("dydit_table8")
    assert len(table) == 19
    assert not table.isna().any(axis=None)
    assert set(table["source"]) == {"P5 Table 8"}
    assert isinstance(table, pd.DataFrame)
