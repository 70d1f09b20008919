"""A sweep's manifest: its counts add up, and it tells what the tables cannot."""

from typing import Any

from sweep_tables import collected, manifest, recorded, sums_hold

from orchestrator.execution.finishing import newly_finished
from orchestrator.planning.plan import Plan


def test_manifest_counts_naive_distinct_and_done_evaluations(finished: Any) -> None:
    collected(finished)
    assert manifest(finished)["evaluations"] is None  # these cells did not record theirs
    recorded(finished, evaluations=100)
    assert collected(finished)
    # 100 images are two batches of 64, and 3 steps of Heun take 5 evaluations: 640 a point.
    counts = {"points": 8, "cells": 4, "naive": 8 * 640, "distinct": 4 * 640, "done": 400}
    assert manifest(finished)["evaluations"] == counts
    cell = finished.plan().cells[0]
    (finished.path / cell.done_file).unlink()
    collected(finished)
    left = {"points": 6, "cells": 3, "naive": 6 * 640, "distinct": 3 * 640, "done": 300}
    assert manifest(finished)["evaluations"] == left


def test_budgets_of_one_dydit_are_one_network(fake: Any) -> None:
    small = "{model.kind: dydit, model.width: 16, model.depth: 2, model.num_heads: 4, model.patch_size: 4}"
    budgets = f"set: {small}\naxes: {{model.flops_ratio: [0.5, 0.7]}}"
    cells = fake.changed("axes: {model.channels: [8, 16]}", budgets, "budget")
    cells.finish_everything()
    collected(cells)
    told = manifest(cells)
    assert len(told["trainings"]) == 2
    assert [one["model"]["kind"] for one in told["networks"]] == ["dydit"]


def test_counts_of_a_first_and_a_later_run_add_up(fake: Any) -> None:
    before = fake.plan()
    fake.finish_everything()
    collected(fake, ran=newly_finished(before, fake.plan()))
    first = manifest(fake)["counts"]
    sums_hold(first, fake.plan())
    assert first == {
        "points": 8, "cells": 4, "collapsed": 4, "trainings": 2, "cached_cells": 0, "cached_trainings": 0,
        "run_cells": 4, "run_trainings": 2, "failed": 0,
    }  # fmt: skip
    grown = fake.changed("[8, 16]", "[8, 16, 4]")
    before = grown.plan()
    grown.finish_training(before.missing_trainings[0])
    grown.finish_cell(before.missing_cells[0])
    collected(grown, ran=newly_finished(before, grown.plan()))
    later = manifest(grown)["counts"]
    sums_hold(later, grown.plan())
    assert (later["run_cells"], later["cached_cells"], later["run_trainings"]) == (1, 4, 1)


def test_counts_add_up_when_a_search_proposed_its_units_during_the_run(fake: Any) -> None:
    whole = fake.plan()
    for unit in whole.trainings:
        fake.finish_training(unit)
    for cell in whole.cells[:3]:
        fake.finish_cell(cell)
    before = Plan(fake.sweep, 0, (), (), frozenset())
    ran = newly_finished(before, fake.plan())
    assert ran == {"trainings": 2, "cells": 3}
    collected(fake, ran=ran)
    sums_hold(manifest(fake)["counts"], fake.plan())


def test_failures_are_listed_with_their_messages_until_the_unit_is_finished(finished: Any) -> None:
    cell, unit = finished.plan().cells[0], finished.plan().trainings[1]
    for file in (cell.done_file, unit.done_file):
        (finished.path / file).unlink()
    finished.fail(f"cells/{cell.cell_id}", "out of memory")
    finished.fail(f"train/{unit.train_id}", "no space left")
    collected(finished)
    assert manifest(finished)["failures"] == [
        {"unit": unit.train_id, "message": "no space left"},
        {"unit": cell.cell_id, "message": "out of memory"},
    ]
    assert manifest(finished)["counts"]["failed"] == 2
    finished.finish_everything()
    collected(finished)
    assert manifest(finished)["failures"] == []


def test_manifest_tells_what_a_reader_needs_besides_the_numbers(finished: Any) -> None:
    collected(finished)
    told, plan = manifest(finished), finished.plan()
    assert (told["schema"], told["sweep"], told["smoke"]) == ("orch/manifest@1", "tiny", False)
    assert told["protocol"]["id"] == plan.cells[0].protocol_id
    assert told["protocol"]["feature_dims"] == 64
    assert told["data"] == {"name": "digits", "sha256": "d" * 64, "num_images": 1797}
    assert told["lineage"] == {cell.cell_id: cell.training.train_id for cell in plan.cells}
    assert told["off_playbook"] == ["model.channels = 16", "model.channels = 8", "sample.s_churn = 5"]
    assert [len(group["points"]) for group in told["collapsed"]] == [2, 2, 2, 2]
    assert all(group["reason"] for group in told["collapsed"])
    training = told["trainings"][0]
    assert (training["snapshot_kimg"], training["runner_up_kimg"], training["images_per_second"]) == (
        4,
        2,
        500,
    )
    assert training["device"] == told["environment"]["device"] == "a test's machine"
