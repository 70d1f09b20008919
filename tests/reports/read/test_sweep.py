"""Reading a sweep's folder: what is refused, and in which words."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.records.tables import RESULTS
from reports.errors import ReportError
from reports.read.sweep import read_sweep


def test_a_complete_folder_is_read_whole(scale_sweep):
    sweep = scale_sweep.read()
    assert len(sweep.results) == 10 * 4  # cells x metrics
    assert sweep.manifest.sweep == "tiny"
    assert sweep.grid == "schema: orch/grid@1\nname: tiny\n"


@pytest.mark.parametrize("name", ["results.parquet", "curves.parquet", "manifest.json"])
def test_a_missing_file_is_named(scale_sweep, name):
    (scale_sweep.sweep / name).unlink()
    with pytest.raises(ReportError, match=rf"{name} is missing"):
        scale_sweep.read()


@pytest.mark.parametrize("name", ["results.parquet", "curves.parquet"])
def test_a_file_that_is_not_parquet_is_named(scale_sweep, name):
    (scale_sweep.sweep / name).write_bytes(b"half a file")
    with pytest.raises(ReportError, match=rf"{name} is not a Parquet file"):
        scale_sweep.read()


def test_results_without_rows_say_that_nothing_has_finished(scale_sweep):
    path = scale_sweep.sweep / "results.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(ReportError, match="no cell has finished yet"):
        scale_sweep.read()


def test_lacking_columns_are_named(scale_sweep):
    path = scale_sweep.sweep / "results.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["nfe", "value"]), path)
    with pytest.raises(ReportError, match="lacks the columns value, nfe"):
        scale_sweep.read()


@pytest.mark.parametrize("column", ["network", "jackknife"])
def test_results_from_before_a_column_was_added_are_still_read(scale_sweep, column):
    path = scale_sweep.sweep / "results.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    results = scale_sweep.read().results
    assert set(results[column]) == {""}
    assert list(results.columns) == RESULTS.names


def test_columns_of_another_type_are_refused(scale_sweep):
    path = scale_sweep.sweep / "curves.parquet"
    table = pq.read_table(path)
    words = pa.array(["not a number"] * len(table))
    pq.write_table(table.set_column(1, "kimg", words), path)
    with pytest.raises(ReportError, match="does not have the types"):
        scale_sweep.read()


def test_a_manifest_whose_field_has_another_type_is_named_with_the_field(scale_sweep):
    path = scale_sweep.sweep / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trainings": [{"seed": 0}]}))
    with pytest.raises(ReportError, match=r"manifest\.json has no valid trainings\.0\.train_id"):
        scale_sweep.read()


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"schema": "orch/manifest@2"})])
def test_a_manifest_of_another_schema_is_refused(scale_sweep, text):
    (scale_sweep.sweep / "manifest.json").write_text(text)
    with pytest.raises(ReportError, match=r"manifest\.json"):
        scale_sweep.read()


def test_a_value_that_is_there_twice_is_refused(scale_sweep):
    path = scale_sweep.sweep / "results.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(ReportError, match="has fd_classifier of cell eu18-t-16-s0 more than once"):
        scale_sweep.read()


def test_mixed_protocols_are_refused_with_the_columns_that_differ(write, make_scale_cells):
    cells = make_scale_cells()
    cells[0] |= {"protocol_id": "p-other", "num_samples": 500}
    folder = write(cells)
    with pytest.raises(ReportError) as caught:
        read_sweep(folder.sweep, folder.storage)
    words = str(caught.value)
    assert "evaluation settings (protocol_id): p-other (4 rows), p-test (36 rows)" in words
    assert "number of images (num_samples): 500 (4 rows), 2000 (36 rows)" in words
    assert "extractor" not in words.split("They differ in")[1]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("protocol_id", "p-other", "evaluation settings (protocol_id): p-other (4 rows), p-test (36 rows)"),
        ("num_samples", 500, "number of images (num_samples): 500 (4 rows), 2000 (36 rows)"),
        ("extractor", "inception", "feature extractor (extractor): classifier (36 rows), inception (4 rows)"),
        (
            "extractor_sha256",
            "f" * 64,
            f"weights of the feature extractor (extractor_sha256): {'e' * 12} (36 rows), ",
        ),
        (
            "reference_id",
            "r-other",
            "reference images or their statistics (reference_id): r-other (4 rows), ",
        ),
    ],
)
def test_each_part_of_a_protocol_keeps_rows_apart_and_is_named_in_words(
    write, make_scale_cells, column, value, said
):
    cells = make_scale_cells()
    cells[3][column] = value
    folder = write(cells)
    with pytest.raises(ReportError, match=r"different evaluation protocols.*cannot share a table") as caught:
        folder.read()
    assert str(caught.value).split("They differ in ")[1].startswith(said)


def test_repeats_of_a_configuration_with_other_weights_are_refused(write, make_scale_cells):
    cells = make_scale_cells(seeds=(0, 1))
    cells[0]["weights"] = "raw weights"
    folder = write(cells)
    with pytest.raises(
        ReportError, match=r"averages of the weights \(ema, half-life 500 kimg; raw weights\), in"
    ):
        folder.read()


def test_a_sweep_may_vary_the_weights(write, make_cell):
    heun = {"kind": "heun", "num_steps": 9}
    kinds = {"raw": "raw weights", "ema": "ema, half-life 500 kimg"}
    cells = [make_cell({"weights.kind": kind}, heun, 4.0, weights=label) for kind, label in kinds.items()]
    assert set(write(cells).read().results["weights"]) == set(kinds.values())
