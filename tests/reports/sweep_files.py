"""A sweep's folder as reports read it, written by hand from cells that are worked out by hand."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.records.tables import CURVES, RESULTS
from reports.read.sweep import SweepResults, read_sweep

NFE = {kind: lambda n: 2 * n - 1 for kind in ("heun", "edm_stochastic")}
NFE |= {kind: lambda n: n for kind in ("euler", "ddim", "ddpm")}
LABELS = {"heun": "Heun", "euler": "Euler", "ddim": "DDIM"}


@dataclass(frozen=True)
class Folder:
    """Where a sweep was written."""

    storage: Path
    sweep: Path

    def read(self) -> SweepResults:
        """The sweep as reports see it."""
        return read_sweep(self.sweep, self.storage)


def png(size: tuple[int, int] = (32, 32), colour: int = 90) -> bytes:
    """A small grey picture with one brighter corner."""
    image = Image.new("L", size, colour)
    image.paste(colour + 80, (0, 0, size[0] // 2, size[1] // 2))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def label(sampler: dict[str, Any]) -> str:
    """The engine's label of a sampler."""
    if sampler["kind"] == "edm_stochastic":
        return f"EDM {sampler['num_steps']} churn {sampler['s_churn']:g}"
    if sampler["kind"] == "ddpm":
        return f"DDPM {sampler['num_steps']} {sampler['covariance']}"
    return f"{LABELS[sampler['kind']]} {sampler['num_steps']}"


def cell(axes: dict[str, Any], sampler: dict[str, Any], distance: float, **extra: Any) -> dict[str, Any]:
    """One cell: its place in the grid and its metrics; `extra` overrides any column."""
    seed = extra.get("train_seed", 0)
    training = {field: value for field, value in axes.items() if not field.startswith("sample.")}
    name = "".join(f"-{value}" for field, value in training.items() if field != "train.seed")
    train_id = f"t{name}-s{seed}"
    place = f"{sampler['kind'][:2]}{sampler['num_steps']}" + "".join(
        f"-{v}" for k, v in axes.items() if "sample." in k
    )
    return {
        "axes": axes,
        "sampler": sampler,
        "metrics": {"fd_classifier": distance, "precision": 0.5, "recall": 0.25, "seconds_per_image": 0.002},
        "train_id": train_id,
        "cell_id": f"{place}-{train_id}",
        "train_seed": seed,
        **extra,
    }


TRAINED = ("data", "model", "objective", "train", "start")
FAMILIES = {
    "heun": "Heun",
    "euler": "Euler",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "edm_stochastic": "EDM stochastic",
}


def is_deterministic(sampler: dict[str, Any]) -> bool:
    """Whether a sampler of these tests draws no noise."""
    if sampler["kind"] == "edm_stochastic":
        return sampler["s_churn"] == 0
    return sampler["kind"] != "ddpm" and not sampler.get("eta") and not sampler.get("noisy")


def solver(sampler: dict[str, Any]) -> str:
    """The family that the engine names a sampler of these tests by."""
    if sampler["kind"] == "edm_stochastic" and is_deterministic(sampler):
        return "Heun"
    covariance = sampler.get("covariance", "none")
    if covariance not in ("none", "beta_tilde"):
        return f"{FAMILIES[sampler['kind']]} {covariance.replace('_', ' ')}"
    noisy = sampler["kind"] == "ddim" and not is_deterministic(sampler)
    return f"{FAMILIES[sampler['kind']]}{' stochastic' if noisy else ''}"


def rows(one: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A cell's rows of results.parquet."""
    sampler = one["sampler"]
    shared = {
        "sweep": name,
        "protocol_id": "p-test",
        "num_samples": 2000,
        "extractor": "classifier",
        "extractor_sha256": "e" * 64,
        "reference_id": "r-test",
        "weights": "ema, half-life 500 kimg",
        "snapshot_kimg": 96.0,
        "sample_seed": 0,
        "recipe": "digits_edm",
        "varies": "scale",
        "model": "{}",
        "network": "",
        "num_params": 1000,
        "macs": 50_000,
        "sampler_label": label(sampler),
        "num_steps": sampler["num_steps"],
        "nfe": NFE[sampler["kind"]](sampler["num_steps"]),
        "collapsed": "[]",
        "off_playbook": "[]",
        "smoke": False,
        "panel": f"cells/{one['cell_id']}/panel.png",
        **{field: value for field, value in one.items() if field not in ("metrics", "picture", "jackknife")},
        "axes": json.dumps(one["axes"]),
        "trained_axes": json.dumps([field for field in one["axes"] if field.split(".")[0] in TRAINED]),
        "solver": solver(sampler),
        "deterministic": is_deterministic(sampler),
    }
    shared["sampler"] = json.dumps(sampler)
    left_out = {metric: json.dumps(values) for metric, values in one.get("jackknife", {}).items()}
    return [
        {**shared, "metric": metric, "value": value, "jackknife": left_out.get(metric, "")}
        for metric, value in one["metrics"].items()
    ]


METRICS = {
    name: {"name": name, "label": label, "better": better, "group": group, "scale": scale}
    for name, label, better, group, scale in (
        ("fd_classifier", "fd_classifier", "lower", "distance", 1.0),
        ("precision", "precision", "higher", "overlap", 1.0),
        ("recall", "recall", "higher", "overlap", 1.0),
        ("density", "density", "higher", "overlap", 1.0),
        ("coverage", "coverage", "higher", "overlap", 1.0),
        ("agreement", "agreement", "higher", "agreement", 1.0),
        ("nelbo_train", "NELBO, train (bits / dim)", "lower", "likelihood", 1.0),
        ("nelbo_test", "NELBO, test (bits / dim)", "lower", "likelihood", 1.0),
        ("seconds_per_image", "ms / image", "lower", "cost", 1000.0),
    )
}
"""How metrics are shown, as the engine's kinds say."""

FIXED = {
    "schema": "orch/manifest@1",
    "recipe": "digits_edm",
    "varies": "scale",
    "smoke": False,
    "off_playbook": [],
    "deviations": ["images are 8x8 digits instead of CIFAR-10"],
    "created": "2026-01-02T03:04:05Z",
    "protocol": {
        "id": "p-test",
        "extractor": "classifier",
        "num_samples": 2000,
        "batch_size": 64,
        "sample_seed": 0,
        "selection": {"sampler": {"kind": "heun", "num_steps": 18}, "num_samples": 1000},
    },
    "code": {
        "commit": "0123abcd",
        "dirty": False,
        "tree_sha256": "f" * 64,
        "orch_version": "0.1.0",
        "engine_version": "1",
    },
    "environment": {
        "python": "3.11.9",
        "platform": "Linux x86_64",
        "packages": {"torch": "2.12.0", "ray": "2.60.0"},
        "cpu": "Example CPU",
        "gpu": None,
        "threads": 1,
    },
    "metrics": METRICS,
    "data": {"name": "digits", "sha256": "d" * 64, "num_images": 1797},
    "failures": [],
    "collapsed": [],
}
"""What a manifest says whatever the cells are."""


def manifest(name: str, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A manifest whose sums match the cells."""
    trainings = {one["train_id"]: one for one in cells}
    counts = {
        "points": len(cells),
        "cells": len(cells),
        "collapsed": 0,
        "trainings": len(trainings),
        "failed": 0,
    }
    counts |= {
        "cached_cells": 0,
        "cached_trainings": 0,
        "run_cells": len(cells),
        "run_trainings": len(trainings),
    }
    return {
        **FIXED,
        "sweep": name,
        "command": f"orch sweep grids/{name}.yaml",
        "counts": counts,
        "trainings": [training(one) for one in trainings.values()],
        "lineage": {one["cell_id"]: one["train_id"] for one in cells},
    }


def training(one: dict[str, Any]) -> dict[str, Any]:
    """A training's record in the manifest."""
    return {
        "train_id": one["train_id"],
        "axes": {field: value for field, value in one["axes"].items() if not field.startswith("sample.")},
        "seed": one["train_seed"],
        "seconds": 1800.0,
        "images_per_second": 1234.0,
        "num_params": one.get("num_params", 1000),
        "macs": one.get("macs", 50_000),
        "snapshot_kimg": 96.0,
        "runner_up_kimg": 128.0,
        "selection_metric": "fd_classifier",
        "device": "Example CPU",
    }


def curves(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Falling curves with a minimum of the selection metric at 96 kimg."""
    found = []
    for number, train_id in enumerate(sorted({one["train_id"] for one in cells})):
        for kimg in (32.0, 64.0, 96.0, 128.0):
            found.append((train_id, kimg, "train/loss", 0.5 + number / 10 + 10 / kimg))
            found.append((train_id, kimg, "selection/fd_classifier", 4.0 + number + abs(kimg - 96) / 20))
    return [dict(zip(CURVES.names, row, strict=True)) for row in found]


def write_sweep(storage: Path, name: str, cells: Sequence[dict[str, Any]], **changes: Any) -> Folder:
    """Write a sweep folder and its sample grids; `changes` replace keys of the manifest."""
    folder = storage / "sweeps" / name.replace("/", "_")
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([row for one in cells for row in rows(one, name)], RESULTS)
    pq.write_table(table, folder / "results.parquet")
    pq.write_table(pa.Table.from_pylist(curves(cells), CURVES), folder / "curves.parquet")
    (folder / "manifest.json").write_text(json.dumps({**manifest(name, cells), **changes}))
    (folder / "grid.yaml").write_text("schema: orch/grid@1\nname: tiny\n")
    for one in cells:
        path = storage / "cells" / one["cell_id"] / "panel.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.get("picture") or png())
    return Folder(storage, folder)
