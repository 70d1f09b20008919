"""A package that offers a kind of every sort, installed for real:
its kinds plan, run and report like built-in ones.

Its name and version are part of the identity of everything that its kinds make.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from wheels import build_wheel

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXAMPLE = HERE / "orch_example"
GRID = HERE / "with_a_package.yaml"

ORCH = "from orchestrator.cli import main; main()"
IDENTITIES = """
import json, sys
from pathlib import Path
from orchestrator.grid import load_sweep
from orchestrator.planning.identity import cell_id, protocol_id, selection_id, train_id

one = load_sweep(Path(sys.argv[1])).anchor
training = train_id(one)
chosen = selection_id(one, training)
print(json.dumps([training, protocol_id(one), chosen, cell_id(one, "fixed")]))
"""


def install(wheel: Path, target: Path) -> None:
    """Install a wheel into a folder, as pip does for anyone."""
    options = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)


def run(target: Path | None, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with what is installed in `target`, if anything."""
    path = os.pathsep.join([str(part) for part in (target, ROOT) if part])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    install(build_wheel(EXAMPLE, tmp_path_factory.mktemp("wheel")), target)
    return target


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[Callable[[Path], None]], Path]:
    """Installs the example after a change to its sources."""

    def make(change: Callable[[Path], None]) -> Path:
        source = tmp_path / "source"
        shutil.copytree(EXAMPLE, source)
        change(source)
        install(build_wheel(source, tmp_path), tmp_path / "target")
        return tmp_path / "target"

    return make


def identities(target: Path) -> list[str]:
    done = run(target, IDENTITIES, str(GRID))
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_a_grid_of_a_packages_kinds_is_planned(installed: Path, tmp_path: Path) -> None:
    done = run(installed, ORCH, "plan", str(GRID), "--storage", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Plain Euler 3" in done.stdout or "2 cells" in done.stdout


def test_without_the_package_the_grid_says_which_one_it_needs(tmp_path: Path) -> None:
    done = run(None, ORCH, "plan", str(GRID), "--storage", str(tmp_path))
    assert done.returncode == 2
    assert "this needs the package orch-example, which is not installed" in done.stderr


def test_another_version_of_the_package_makes_other_trainings_protocols_and_cells(
    installed: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    install(build_wheel(EXAMPLE, tmp_path, version="1.1"), target)
    before = identities(installed)
    after = identities(target)
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_the_same_version_makes_the_same_identities_wherever_it_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    install(build_wheel(EXAMPLE, tmp_path), tmp_path / "target")
    assert identities(tmp_path / "target") == identities(installed)


def test_a_package_that_fails_to_import_is_one_line_and_exit_code_2(
    altered: Callable[[Callable[[Path], None]], Path], tmp_path: Path
) -> None:
    def break_it(source: Path) -> None:
        (source / "orch_example" / "mean_grey.py").write_text("import no_such_library\n")

    done = run(altered(break_it), ORCH, "plan", str(GRID), "--storage", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "orch-example offers the metric 'mean_grey', which cannot be loaded" in done.stderr
    assert "no_such_library" in done.stderr


def test_a_package_whose_kind_has_a_name_that_is_taken_is_one_line_and_exit_code_2(
    altered: Callable[[Callable[[Path], None]], Path], tmp_path: Path
) -> None:
    def rename(source: Path) -> None:
        described = source / "pyproject.toml"
        described.write_text(described.read_text().replace("stripes =", "digits ="))

    done = run(altered(rename), ORCH, "plan", str(GRID), "--storage", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "orch-example offers the data set 'digits', and there is one of that name already" in done.stderr


def test_a_table_that_cannot_be_loaded_is_told_before_anything_is_trained(
    altered: Callable[[Callable[[Path], None]], Path], tmp_path: Path
) -> None:
    def break_it(source: Path) -> None:
        (source / "orch_example" / "cells_by_grey.py").write_text("import no_such_library\n")

    grid = str(ROOT / "grids" / "quickstart.yaml")
    done = run(altered(break_it), ORCH, "sweep", grid, "--smoke", "--storage", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "orch-example offers the table 'cells_by_grey', which cannot be loaded" in done.stderr
    assert not list((tmp_path / "runs").glob("train/*"))


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_of_a_packages_kinds_runs_and_is_reported(installed: Path, tmp_path: Path) -> None:
    done = run(installed, ORCH, "sweep", str(GRID), "--storage", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = next(tmp_path.glob("sweeps/*/report"))
    assert "mean_grey" in (report / "tables" / "all_metrics.csv").read_text()
    assert (report / "tables" / "cells_by_grey.csv").is_file()
