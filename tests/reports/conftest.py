"""Tiny sweeps written by hand: their numbers are small enough to work out every table on paper."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweep_cases import chain_cells, churn_cells, latents_cells, sampler_cells, scale_cells, size_cells
from sweep_files import Folder, cell, manifest, write_sweep

from engine.records.tables import CURVES
from reports.build import build_report
from reports.document.compose import Document, compose


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
