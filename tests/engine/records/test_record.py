"""Records read what any version wrote, keep what they do not know, and say what is missing."""

import json

import pytest
from pydantic import ValidationError

from engine.records.attempts import Attempt
from engine.records.manifest import Manifest
from engine.records.plan import PlanRecord
from engine.records.units import CellDone, CellRecord, Environment, Selection

CELL_OF_0_4_0 = {
    "cell_id": "161b8c06b8d43865",
    "evaluations": 2304,
    "experiment": {"data": {"name": "digits"}, "start": None},
    "extractor_sha256": "e" * 64,
    "jackknife": {"fd_classifier": [6.25, 6.5]},
    "macs": None,
    "metrics": {"fd_classifier": 6.292231484205729, "precision": 0.4140625},
    "nfe": 9,
    "num_params": 106909,
    "reference_id": "r" * 64,
    "sampler": {"method": "euler", "num_steps": 9},
    "snapshot_kimg": 9.984,
    "train_id": "34320aab029880cc",
}


def test_a_cell_of_0_4_0_is_written_again_as_it_was_with_no_part_corrected() -> None:
    assert CellRecord.from_json(CELL_OF_0_4_0).to_json() == {**CELL_OF_0_4_0, "versions": {}}


def test_a_cell_that_is_older_still_has_no_jackknife_and_did_not_count_its_evaluations() -> None:
    older = {
        key: value for key, value in CELL_OF_0_4_0.items() if key not in ("jackknife", "evaluations", "macs")
    }
    record = CellRecord.from_json(older)
    assert (record.jackknife, record.evaluations, record.macs) == ({}, None, None)


def test_a_field_of_a_later_version_is_kept() -> None:
    record = CellDone.from_json({"cell_id": "a", "seconds": 1.5, "energy_joules": 12})
    assert record.to_json()["energy_joules"] == 12


def test_null_in_the_place_of_a_part_is_as_if_it_were_not_written() -> None:
    assert Manifest.from_json({"counts": None, "data": None, "failures": None}) == Manifest()


def test_a_record_without_a_field_that_no_version_left_out_is_refused() -> None:
    with pytest.raises(ValidationError, match="chosen"):
        Selection.from_json({"metric": "fid", "scores": []})


def test_tuples_of_a_configuration_become_lists_as_in_json() -> None:
    record = CellRecord.from_json({**CELL_OF_0_4_0, "sampler": {"tau": (1, 2), "deep": {"pair": (3, (4,))}}})
    assert record.sampler == {"tau": [1, 2], "deep": {"pair": [3, [4]]}}


def test_defaults_of_two_records_are_not_shared() -> None:
    one, other = Environment(), Environment()
    one.packages["torch"] = "2"
    assert other.packages == {}


def test_a_manifest_names_its_schema_where_readers_look_for_it() -> None:
    assert Manifest().to_json()["schema"] == "orch/manifest@1"
    with pytest.raises(ValidationError):
        Manifest.from_json({"schema": "orch/manifest@2"})


def test_snapshots_are_told_in_thousands_of_images() -> None:
    choice = Selection(metric="fid", scores=((2_000, 9.0), (4_500, 7.0)), chosen=4_500)
    assert (choice.chosen_kimg, choice.runner_up_kimg) == (4.5, None)


def test_files_that_make_a_planned_unit_finished_are_its_own() -> None:
    training = {"train_id": "t1", "selection_id": "s1"}
    plan = PlanRecord.from_json({"trainings": [training], "cells": [{"cell_id": "c1", "train_id": "t1"}]})
    assert plan.trainings[0].needed == ("train/t1/DONE.json", "train/t1/selections/s1.json")
    assert plan.cells[0].needed == ("cells/c1/DONE.json",)


def test_a_line_of_attempts_has_nothing_that_is_not_known() -> None:
    line = Attempt(time="2026-01-02T03:04:05+00:00", unit="t1", kind="train", state="started").to_line()
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05+00:00",
        "unit": "t1",
        "kind": "train",
        "state": "started",
    }
