"""From finished units to tables and a manifest whose numbers add up."""

import json
from pathlib import Path
from typing import Any

import pytest
from sweep_tables import collected, manifest, recorded, sums_hold, table

from engine.records.tables import CURVES, RESULTS
from orchestrator.planning.cost import model_cost

METRICS = ["fd_classifier", "precision", "recall", "seconds_per_image"]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time of every file."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# Tables.


def test_tables_have_exactly_the_columns_that_reports_read(finished: Any) -> None:
    collected(finished)
    assert table(finished, "results.parquet").schema.equals(RESULTS)
    assert table(finished, "curves.parquet").schema.equals(CURVES)


def test_tables_of_a_sweep_without_results_have_the_same_columns(fake: Any) -> None:
    collected(fake)
    results, curves = table(fake, "results.parquet"), table(fake, "curves.parquet")
    assert results.schema.equals(RESULTS)
    assert curves.schema.equals(CURVES)
    assert results.num_rows == curves.num_rows == 0


def test_there_is_a_row_for_every_cell_and_metric(finished: Any) -> None:
    collected(finished)
    rows = table(finished, "results.parquet").to_pylist()
    cells = [cell.cell_id for cell in finished.plan().cells]
    assert [(row["cell_id"], row["metric"]) for row in rows] == [
        (cell, name) for cell in cells for name in METRICS
    ]


def test_a_row_says_what_was_measured_of_which_weights_with_which_sampler(finished: Any) -> None:
    collected(finished)
    row = table(finished, "results.parquet").to_pylist()[0]
    cell = finished.plan().cells[0]
    expected = {
        "sweep": "tiny", "recipe": "tiny_digits", "varies": "scale", "smoke": False,
        "metric": "fd_classifier", "value": 7.5, "num_samples": 100, "extractor": "classifier",
        "weights": "ema, half-life 1 kimg",
        "snapshot_kimg": 4.0, "train_seed": 0, "sample_seed": 0, "num_steps": 3, "nfe": 5,
        "sampler_label": "Heun 3",
        "train_id": cell.training.train_id, "protocol_id": cell.protocol_id, "num_params": 12_345,
        "panel": f"cells/{cell.cell_id}/panel.png",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["axes"]) == {"model.channels": 8}
    assert json.loads(row["model"])["channels"] == 8
    assert json.loads(row["sampler"])["kind"] == "heun"
    assert json.loads(row["collapsed"]) == ["s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing"]
    assert json.loads(row["off_playbook"]) == ["model.channels = 8"]


def test_a_row_has_the_macs_that_were_executed_where_they_were_measured(finished: Any) -> None:
    first, second = finished.plan().cells[:2]
    record = json.loads((finished.path / f"cells/{first.cell_id}/cell.json").read_text())
    finished.json(f"cells/{first.cell_id}/cell.json", {**record, "macs": 123})
    collected(finished)
    macs = {row["cell_id"]: row["macs"] for row in table(finished, "results.parquet").to_pylist()}
    assert (macs[first.cell_id], macs[second.cell_id]) == (123, model_cost(second.experiment).macs)


def test_jackknife_values_are_written_in_the_row_of_their_distance(finished: Any) -> None:
    collected(finished)
    assert {row["jackknife"] for row in table(finished, "results.parquet").to_pylist()} == {""}
    recorded(finished, jackknife={"fd_classifier": [7.25, 7.75]})
    collected(finished)
    found = {(row["metric"], row["jackknife"]) for row in table(finished, "results.parquet").to_pylist()}
    assert found == {(name, "[7.25, 7.75]" if name == "fd_classifier" else "") for name in METRICS}


def test_rows_and_manifest_have_the_published_name_of_the_network(fake: Any) -> None:
    published = (
        "set: {model.kind: dit, model.width: 384, model.depth: 12, model.num_heads: 6, model.patch_size: 2}"
    )
    for cells, name in ((fake, ""), (fake.changed("axes: {model.channels: [8, 16]}", published), "DiT-S/2")):
        cells.finish_everything()
        collected(cells)
        assert {row["network"] for row in table(cells, "results.parquet").to_pylist()} == {name}
        assert {one["name"] for one in manifest(cells)["networks"]} == {name}
    (network,) = manifest(fake)["networks"]
    assert network["model"]["width"] == 384
    assert "P5 Table 7" in network["source"]


def test_a_cell_that_is_not_finished_has_no_rows(finished: Any) -> None:
    cell = finished.plan().cells[1]
    (finished.path / cell.done_file).unlink()
    collected(finished)
    names = table(finished, "results.parquet").column("cell_id").to_pylist()
    assert cell.cell_id not in names
    assert len(set(names)) == 3


def test_curves_hold_training_and_the_score_of_every_snapshot(finished: Any) -> None:
    collected(finished)
    unit = finished.plan().trainings[0]
    rows = [row for row in table(finished, "curves.parquet").to_pylist() if row["train_id"] == unit.train_id]
    values = [(row["name"], row["kimg"], row["value"]) for row in rows]
    assert [value for value in values if value[0] == "train/loss"] == [
        ("train/loss", kimg, 10 / kimg) for kimg in (1.0, 2.0, 3.0, 4.0)
    ]
    assert values[-2:] == [("selection/fd_classifier", 2.0, 9.0), ("selection/fd_classifier", 4.0, 7.0)]


def test_a_training_without_a_chosen_snapshot_has_no_curves(fake: Any) -> None:
    fake.finish_training(fake.plan().trainings[0], select=False)
    collected(fake)
    assert table(fake, "curves.parquet").num_rows == 0


def test_a_row_says_which_weights_were_sampled(fake: Any) -> None:
    emas = "{weights.kind: ema}, {weights.kind: ema, weights.halflife_kimg: 2}, {weights.kind: power}"
    points = f"[{{weights.kind: raw}}, {emas}]"
    kept = "train.keep_raw: true, train.ema_extra_halflives_kimg: [2], train.ema_power: [0.05, 0.1]"
    other = fake.changed("axes: {model.channels: [8, 16]}", f"set: {{{kept}}}\npoints: {points}", "weights")
    other.finish_everything()
    collected(other)
    rows = table(other, "results.parquet").to_pylist()
    assert list(dict.fromkeys(row["weights"] for row in rows)) == [
        "raw weights",
        "ema, half-life 1 kimg",
        "ema, half-life 2 kimg",
        "power-function ema, width 0.1",
    ]
    assert len({row["train_id"] for row in rows}) == 1


def test_parent_and_head_have_curves_and_only_the_head_has_result_rows(head: Any) -> None:
    head.finish_everything()
    collected(head, ran={"trainings": 2, "cells": 2})
    parent, child = head.plan().trainings
    assert set(table(head, "curves.parquet").column("train_id").to_pylist()) == {
        parent.train_id,
        child.train_id,
    }
    assert set(table(head, "results.parquet").column("train_id").to_pylist()) == {child.train_id}
    told = manifest(head)
    assert [one["axes"] for one in told["trainings"]] == [{"start": "training"}, {}]
    assert told["trainings"][1]["num_params"] > told["trainings"][0]["num_params"]  # the head comes on top
    sums_hold(told["counts"], head.plan())


# Once is enough.


def test_collecting_again_changes_nothing_on_disk(finished: Any) -> None:
    assert collected(finished, ran={"trainings": 2, "cells": 4})
    before = snapshot(finished.path)
    assert not collected(finished)
    assert snapshot(finished.path) == before


def test_a_damaged_manifest_is_written_anew(finished: Any) -> None:
    collected(finished)
    whole = manifest(finished)
    (finished.path / "sweeps/tiny/manifest.json").write_text("{")
    assert collected(finished)
    assert manifest(finished)["lineage"] == whole["lineage"]


@pytest.mark.parametrize("event", ["failure", "another failure", "a new value", "a deviation"])
def test_a_run_without_finished_units_updates_the_manifest(finished: Any, event: str) -> None:
    cell = finished.plan().cells[0]
    (finished.path / cell.done_file).unlink()
    if event == "another failure":
        finished.fail(f"cells/{cell.cell_id}", "first")
    collected(finished)
    before = manifest(finished)
    if "failure" in event:
        finished.fail(f"cells/{cell.cell_id}", "second")
    grown = {
        "a new value": ("[8, 16]", "[8, 16, 4]"),
        "a deviation": ("panel:", "set: {model.dropout: 0.05}\npanel:"),
    }
    assert collected(finished.changed(*grown[event]) if event in grown else finished)
    after = manifest(finished)
    told = {key for key in after if after[key] != before[key]} - {"created"}
    changes = {
        "a new value": {"counts", "lineage", "off_playbook", "collapsed"},
        "a deviation": {"deviations"},
    }
    assert told == changes.get(event, {"counts", "failures"} if event == "failure" else {"failures"})
