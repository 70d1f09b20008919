"""Tiny sweeps written by hand: their numbers are small enough to work out every table on paper."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine.records.tables import CURVES, RESULTS
from reports.build import build_report
from reports.document.compose import Document, compose
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


def scale_cells(seeds: Sequence[int] = (0,)) -> list[dict[str, Any]]:
    """Two widths under five samplers; distances rise by 0.1 a seed."""
    samplers = [
        {"kind": "euler", "num_steps": 18},
        {"kind": "heun", "num_steps": 9},
        {"kind": "heun", "num_steps": 18},
        {"kind": "heun", "num_steps": 40},
        {
            "kind": "edm_stochastic",
            "num_steps": 18,
            "s_churn": 30.0,
            "s_tmin": 0.05,
            "s_tmax": 50.0,
            "s_noise": 1.003,
        },
    ]
    distances = {16: (9.0, 8.5, 8.0, 7.75, 7.5), 32: (6.5, 6.25, 6.0, 5.0, 6.5)}
    sizes = {16: (250_000, 1_500_000), 32: (1_000_000, 6_000_000)}
    return [
        cell(
            {"model.channels": channels, **({"train.seed": seed} if len(seeds) > 1 else {})},
            sampler,
            distance + 0.1 * seed,
            train_seed=seed,
            num_params=sizes[channels][0],
            macs=sizes[channels][1],
        )
        for channels, values in distances.items()
        for seed in seeds
        for sampler, distance in zip(samplers, values, strict=True)
    ]


def churn_cells() -> list[dict[str, Any]]:
    """One training; S_churn 0 is one cell, 10 and 20 each under two values of S_noise."""
    values = {(0.0, 1.0): 4.0, (10.0, 1.0): 3.5, (20.0, 1.0): 3.8, (10.0, 1.007): 3.0, (20.0, 1.007): 4.2}
    return [
        cell(
            {"sample.s_churn": churn, "sample.s_noise": noise},
            {"kind": "edm_stochastic", "num_steps": 18, "s_churn": churn, "s_noise": noise},
            distance,
            varies="sampler",
        )
        for (churn, noise), distance in values.items()
    ]


def sampler_cells(count: int = 12, wobble: float = 0.05) -> list[dict[str, Any]]:
    """Heun and `count` stochastic samplers at 18 steps, of distances 3.0, 3.1, ... and Heun's 5.0.

    Leaving out a block moves all of them alike by up to 1.8; all but the best wobble by +-`wobble` besides,
    so the standard error of their difference to the best is sqrt(9 / 10 * 10) * wobble = 3 * wobble.
    """
    found = []
    for number in range(count + 1):
        churn, distance = (0.0, 5.0) if number == count else (10.0 * (number + 1), 3 + number / 10)
        own = wobble if number else 0.0
        sampler = {"kind": "edm_stochastic", "num_steps": 18, "s_churn": churn}
        one = cell({"sample.s_churn": churn}, sampler, distance, varies="sampler")
        left_out = [distance + 0.2 * block + own * (-1) ** block for block in range(10)]
        found.append({**one, "jackknife": {"fd_classifier": left_out}})
    return found


def chain_cells(channels: Sequence[int] = (16,)) -> list[dict[str, Any]]:
    """DDPM under two covariances and DDIM, at three numbers of steps;
    OCM's gains shrink as steps are added."""
    found = []
    for width in channels:
        for steps in (5, 10, 20):
            values = {"beta_tilde": 12.0 - 16.0 / width - steps / 5, "ocm": 9.0 - 16.0 / width - steps / 10}
            for covariance, distance in values.items():
                sampler = {"kind": "ddpm", "num_steps": steps, "covariance": covariance}
                axes = {"model.channels": width, "sample.covariance": covariance, "sample.num_steps": steps}
                one = cell(axes, sampler, distance, varies="objective")
                one["metrics"]["nelbo_test"] = distance / 2
                found.append(one)
            ddim = {"kind": "ddim", "num_steps": steps, "eta": 0.0, "covariance": "none"}
            found.append(
                cell({"model.channels": width, "sample.num_steps": steps}, ddim, 8.5, varies="objective")
            )
    return found


def size_cells(floor: float = 0.5, seeds: Sequence[int] = (0,), **changes: Any) -> list[dict[str, Any]]:
    """Four widths whose loss lies 1000 F^-0.25 above `floor`, where F = MACs x 96,000 images;
    `changes` are axes."""
    found = []
    for width in (8, 16, 32, 64):
        macs = 1000 * width**2
        gap = 1000 * (macs * 96_000.0) ** -0.25
        for seed in seeds:
            axes = {"model.channels": width, **changes, **({"train.seed": seed} if len(seeds) > 1 else {})}
            sizes = {"num_params": 100 * width**2, "macs": macs, "train_seed": seed}
            one = cell(axes, {"kind": "heun", "num_steps": 18}, 3.0 + 8 / width, **sizes)
            one["metrics"] |= {"model_loss": floor + gap, "optimal_loss": floor, "optimal_loss_gap": gap}
            found.append(one)
    return found


def panel_of_latents(shade: int) -> bytes:
    """A sample grid of 8 x 8 images whose columns have grey
    levels of their own, one-pixel white lines between."""
    image = Image.new("L", (8 * 33 - 1, 8 * 33 - 1), 255)
    for row in range(8):
        for column in range(8):
            image.paste(shade + 10 * column, (33 * column, 33 * row, 33 * column + 32, 33 * row + 32))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def latents_cells() -> list[dict[str, Any]]:
    """Two widths under two deterministic solvers at two
    costs, with the agreement of each and its sample grid."""
    agreements = {("euler", 9): 0.5, ("euler", 35): 0.9, ("heun", 5): 0.25, ("heun", 18): 0.95}
    found = []
    for channels, penalty in ((16, 0.0), (32, 0.125)):
        for number, ((kind, steps), agreement) in enumerate(agreements.items()):
            one = cell(
                {"model.channels": channels},
                {"kind": kind, "num_steps": steps},
                9.0 - channels / 8 - agreement,
            )
            one["metrics"]["agreement"] = agreement - penalty
            found.append({**one, "picture": panel_of_latents(40 * number)})
    return found


@pytest.fixture
def latents_sweep(tmp_path: Path) -> Folder:
    """The same latents under two solvers at two costs."""
    return write_sweep(tmp_path / "latents", "latents", latents_cells())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Folder]:
    """Writes any sweep into a fresh storage."""

    def writer(cells: Sequence[dict[str, Any]], name: str = "tiny", **changes: Any) -> Folder:
        return write_sweep(tmp_path / "storage", name, cells, **changes)

    return writer


@pytest.fixture
def write_curves() -> Callable[[Folder, Sequence[tuple[Any, ...]]], None]:
    """Puts other curves into a sweep's folder: rows of (train_id, kimg, name, value)."""

    def writer(folder: Folder, found: Sequence[tuple[Any, ...]]) -> None:
        named = [dict(zip(CURVES.names, row, strict=True)) for row in found]
        pq.write_table(pa.Table.from_pylist(named, CURVES), folder.sweep / "curves.parquet")

    return writer


@pytest.fixture
def make_cell() -> Callable[..., dict[str, Any]]:
    """Builds one cell from its axes, sampler and distance."""
    return cell


@pytest.fixture
def make_sampler_cells() -> Callable[..., list[dict[str, Any]]]:
    """Builds the cells of `sampler_sweep`, any number of them."""
    return sampler_cells


@pytest.fixture
def sampler_sweep(tmp_path: Path) -> Folder:
    """Twelve stochastic samplers and Heun on one training, with values that leave out a block."""
    return write_sweep(tmp_path / "samplers", "samplers", sampler_cells(), varies="sampler")


@pytest.fixture
def make_chain_cells() -> Callable[..., list[dict[str, Any]]]:
    """Builds the cells of `chain_sweep` for any widths."""
    return chain_cells


@pytest.fixture
def chain_sweep(tmp_path: Path) -> Folder:
    """Two covariances of DDPM and DDIM beside them on one training."""
    return write_sweep(tmp_path / "chains", "chains", chain_cells(), varies="objective")


@pytest.fixture
def make_size_cells() -> Callable[..., list[dict[str, Any]]]:
    """Builds the cells of `size_sweep` for any floor, seeds and further axes."""
    return size_cells


@pytest.fixture
def size_sweep(tmp_path: Path) -> Folder:
    """Four widths with a loss of known law and floor."""
    return write_sweep(tmp_path / "sizes", "sizes", size_cells())


@pytest.fixture
def make_scale_cells() -> Callable[..., list[dict[str, Any]]]:
    """Builds the cells of `scale_sweep` for any training seeds."""
    return scale_cells


@pytest.fixture
def scale_sweep(write: Callable[..., Folder]) -> Folder:
    """Two widths under five samplers, one training seed each."""
    return write(scale_cells())


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The composed report of `scale_sweep`, for tests that only render it."""
    return compose(write_sweep(tmp_path_factory.mktemp("document"), "tiny", scale_cells()).read())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report folder of `scale_sweep`, for tests that only look at it."""
    folder = write_sweep(tmp_path_factory.mktemp("built"), "tiny", scale_cells())
    return build_report(folder.sweep, folder.storage).parent


@pytest.fixture
def seeded_sweep(write: Callable[..., Folder]) -> Folder:
    """The same with three training seeds."""
    return write(scale_cells(seeds=(0, 1, 2)))


def write_churn(storage: Path) -> Folder:
    """A sampler grid of six points in five cells."""
    cells = churn_cells()
    points = [{"sample.s_churn": 0.0, "sample.s_noise": noise} for noise in (1.0, 1.007)]
    collapsed = [{"cell_id": cells[0]["cell_id"], "points": points, "reason": "s_churn = 0 is Heun"}]
    counts = {**manifest("tiny", cells)["counts"], "points": 6, "collapsed": 1}
    return write_sweep(storage, "churn", cells, varies="sampler", collapsed=collapsed, counts=counts)


@pytest.fixture
def churn_sweep(tmp_path: Path) -> Folder:
    """S_churn by S_noise on one training."""
    return write_churn(tmp_path / "churn")
