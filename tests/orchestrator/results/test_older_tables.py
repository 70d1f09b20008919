"""A sweep's folder of 0.4.0 is completed in place, and nothing else of it is touched."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import UsageError
from orchestrator.results.collect import collect
from orchestrator.results.older_tables import complete_tables

NEW_COLUMNS = ["trained_axes", "solver", "deterministic"]


def collected_by_0_4_0(fake: Any) -> tuple[Path, pa.Table, dict[str, Any]]:
    """The sweep's folder as 0.4.0 left it; its results and manifest as this version writes them."""
    collect(
        fake.plan(), fake.store, fake.store.sweep("tiny"), command="orch", ran={"trainings": 2, "cells": 4}
    )
    folder = fake.path / "sweeps/tiny"
    results = pq.read_table(folder / "results.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    pq.write_table(results.drop_columns(NEW_COLUMNS), folder / "results.parquet")
    older = {key: value for key, value in manifest.items() if key != "metrics"}
    (folder / "manifest.json").write_text(json.dumps(older))
    return folder, results, manifest


def test_results_and_manifest_get_what_this_version_writes(finished: Any) -> None:
    folder, results, manifest = collected_by_0_4_0(finished)
    assert complete_tables(finished.store.sweep("tiny"))
    completed = pq.read_table(folder / "results.parquet")
    assert completed.select(results.column_names).equals(results)
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert set(manifest["metrics"]) == set(results.column("metric").to_pylist())


def test_what_is_complete_is_left_alone(finished: Any) -> None:
    folder, _, _ = collected_by_0_4_0(finished)
    complete_tables(finished.store.sweep("tiny"))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not complete_tables(finished.store.sweep("tiny"))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["results.parquet", "manifest.json"])
def test_what_is_damaged_is_left_to_the_report_which_says_so(finished: Any, name: str) -> None:
    folder, _, _ = collected_by_0_4_0(finished)
    (folder / name).write_bytes(b"{half a file")
    complete_tables(finished.store.sweep("tiny"))
    assert (folder / name).read_bytes() == b"{half a file"


def test_a_folder_without_results_is_left_alone(fake: Any) -> None:
    assert not complete_tables(fake.store.sweep("tiny"))


def test_a_sampler_that_this_version_does_not_have_is_named(finished: Any) -> None:
    folder, _, _ = collected_by_0_4_0(finished)
    table = pq.read_table(folder / "results.parquet")
    unknown = pa.array(['{"kind": "midpoint", "num_steps": 3}'] * len(table))
    place = table.column_names.index("sampler")
    pq.write_table(table.set_column(place, "sampler", unknown), folder / "results.parquet")
    with pytest.raises(UsageError, match=r"results\.parquet names a sampler .*midpoint"):
        complete_tables(finished.store.sweep("tiny"))
