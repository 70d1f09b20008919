"""The whole way from a sweep's folder to its report."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reports.build import build_report
from reports.errors import ReportError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_report_has_its_documents_tables_and_pictures(built):
    tables = ("scale_quality", "flops_quality", "nfe_quality", "all_metrics", "trainings")
    assert set(files(built)) == {
        "report.html",
        "report.md",
        *(
            f"tables/{name}.csv"
            for name in ("scale_quality", "flops_quality", "nfe_quality", "all_metrics", "trainings")
        ),
        *(f"tables/{name}.parquet" for name in tables),
        *(
            f"figures/{name}.png"
            for name in ("scale_quality", "flops_quality", "nfe_quality", "training_curves")
        ),
        *(f"figures/{name}.png" for name in ("samples_1", "samples_2")),
    }


def test_the_markdown_holds_the_tables_worked_out_by_hand(built):
    text = (built / "report.md").read_text()
    lines = text.splitlines()
    assert lines[0] == "# C ∈ {16, 32} × 5 samplers"
    assert "quick protocol · 1 training seed · 10 cells · 2 trainings" in lines
    assert "| 16 `t-16-s0` | 250 k | 1.50 M | 96 | 7.75 | 0.500 | 0.250 | 2.00 | 1,234 |" in lines
    assert "| 32 `t-32-s0` | 1.00 M | 6.00 M | 96 | **5.00** | 0.500 | 0.250 | 2.00 | 1,234 |" in lines
    assert "| sampler | NFE | fd_classifier ↓ C = 16 | fd_classifier ↓ C = 32 | precision ↑ C = 16 |" in text
    assert (
        "| EDM 18 churn 30 `ed18-t-1 · ed18-t-3` | 35 | **7.50** | 6.50 | 0.500 | 0.500 | 0.250 | 0.250 |"
        in lines
    )
    assert "| Heun 40 `he40-t-1 · he40-t-3` | 79 | 7.75 | **5.00** | 0.500 | 0.500 | 0.250 | 0.250 |" in lines
    assert "![C = 16](figures/samples_1.png)" in lines
    assert "- ok: grid points = cells + collapsed: 10 = 10 + 0" in lines
    assert "1 seed: no interval" in text


def test_badges_warn_of_smoke_off_playbook_dirty_code_and_gaps(write, make_scale_cells):
    cells = make_scale_cells()
    lineage = {"gone": "t-16-s0", **{cell["cell_id"]: cell["train_id"] for cell in cells}}
    folder = write(cells, smoke=True, off_playbook=["model.channels"], code={"dirty": True}, lineage=lineage)
    text = (build_report(folder.sweep, folder.storage).parent / "report.md").read_text()
    warnings = (
        "**SMOKE RUN** · **OFF PLAYBOOK: model.channels** · "
        "**1 cell without a result** · **uncommitted code**"
    )
    assert warnings in text


def test_building_twice_gives_the_same_bytes(churn_sweep):
    first = files(build_report(churn_sweep.sweep, churn_sweep.storage).parent)
    assert files(build_report(churn_sweep.sweep, churn_sweep.storage).parent) == first


def test_a_new_report_leaves_nothing_of_the_old_one(scale_sweep):
    folder = scale_sweep.sweep / "report"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "stale.csv").write_text("old")
    assert build_report(scale_sweep.sweep, scale_sweep.storage) == folder / "report.html"
    assert not (folder / "tables" / "stale.csv").exists()
    assert not (scale_sweep.sweep / ".report.partial").exists()


def test_a_refused_report_leaves_the_old_one_alone(scale_sweep):
    (scale_sweep.sweep / "report").mkdir()
    (scale_sweep.sweep / "report" / "report.html").write_text("old")
    (scale_sweep.sweep / "manifest.json").unlink()
    with pytest.raises(ReportError):
        build_report(scale_sweep.sweep, scale_sweep.storage)
    assert files(scale_sweep.sweep / "report") == {"report.html": b"old"}


def test_csv_and_parquet_hold_the_same_rows(seeded_sweep):
    folder = build_report(seeded_sweep.sweep, seeded_sweep.storage).parent / "tables"
    with (folder / "scale_quality.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(folder / "scale_quality.parquet").to_pylist()
    assert [float(row["fd_classifier"]) for row in rows] == [row["fd_classifier"] for row in table]
    assert rows[0]["fd_classifier seeds"] == "3"
    assert rows[0]["train_ids"] == "t-16-s0 t-16-s1 t-16-s2"


def test_a_formula_in_an_axis_value_does_not_reach_the_csv(write, make_cell):
    sampler = {"kind": "heun", "num_steps": 9}
    folder = write([make_cell({"model.name": name}, sampler, 4.0) for name in ("=1+1", "plain")])
    text = (build_report(folder.sweep, folder.storage).parent / "tables" / "scale_quality.csv").read_text()
    assert "\n'=1+1," in text


def test_a_sample_grid_outside_the_storage_is_refused(write, make_cell):
    folder = write([make_cell({}, {"kind": "heun", "num_steps": 9}, 4.0, panel="../../secret.png")])
    with pytest.raises(ReportError, match="lies outside"):
        build_report(folder.sweep, folder.storage)


def test_a_sample_grid_that_is_no_picture_is_refused(scale_sweep):
    for path in scale_sweep.storage.glob("cells/*/panel.png"):
        path.write_text("not a picture")
    with pytest.raises(ReportError, match="is not a PNG file"):
        build_report(scale_sweep.sweep, scale_sweep.storage)


def test_a_missing_sample_grid_only_leaves_a_gap(scale_sweep):
    (scale_sweep.storage / "cells" / "he40-t-32-s0" / "panel.png").unlink()
    folder = build_report(scale_sweep.sweep, scale_sweep.storage).parent
    assert [path.name for path in folder.glob("figures/samples_*")] == ["samples_1.png"]


def test_mixed_protocols_are_refused(write, make_scale_cells):
    cells = make_scale_cells()
    cells[3]["protocol_id"] = "p-other"
    folder = write(cells)
    with pytest.raises(ReportError, match="different evaluation protocols"):
        build_report(folder.sweep, folder.storage)


def test_a_manifest_of_nulls_still_gives_a_report(scale_sweep):
    path = scale_sweep.sweep / "manifest.json"
    manifest = dict.fromkeys(json.loads(path.read_text()))
    path.write_text(json.dumps({**manifest, "schema": "orch/manifest@1"}))
    assert "not recorded" in build_report(scale_sweep.sweep, scale_sweep.storage).read_text()


def test_a_thousand_cells_all_reach_the_tables(write, make_cell):
    grid = [(float(c), t, n) for c in range(10) for t in range(10) for n in range(10)]
    cells = [
        make_cell(
            {"sample.s_churn": c, "sample.s_tmin": t, "sample.s_noise": n},
            {"kind": "edm_stochastic", "num_steps": 18, "s_churn": c + 1, "s_tmin": t, "s_noise": n},
            4.0 + number / 1000,
        )
        for number, (c, t, n) in enumerate(grid)
    ]
    folder = write(cells)
    page = build_report(folder.sweep, folder.storage)
    with (page.parent / "tables" / "sampler_grid.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1000
    assert "The first 60 of 1,000 rows" in page.read_text()


def test_reports_load_only_records_of_the_engine():
    code = (
        "import sys, reports.build; "
        "loaded = {name.split('.')[0] for name in sys.modules}; "
        "rooms = {'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('engine.')}; "
        "print(sorted(loaded & {'torch', 'ray', 'mlflow', 'orchestrator'} | rooms - "
        "{'engine.records', 'engine.kinds'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
