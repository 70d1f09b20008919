"""The rules of the house: who may import whom, how long things may be, and what the top level holds."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"engine", "orchestrator", "reports"}
ALLOWED = {
    "engine": {"engine"},
    "orchestrator": {"engine", "orchestrator", "reports"},
    "reports": {"engine", "reports"},
}
FORBIDDEN = {
    "engine": {"ray", "mlflow", "optuna", "pandas", "yaml", "ruamel"},
    "orchestrator": set(),
    "reports": {"torch", "ray", "mlflow"},
}
RECORDS = "engine.records"
"""The one room of the engine that reports may know, and that knows none of ours."""
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 45
SOURCES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def rooms_imported(tree: ast.AST) -> Iterator[str]:
    """The first two parts of the names of modules of ours that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        yield from (".".join(name.split(".")[:2]) for name in names if name.split(".")[0] in OURS)


@pytest.mark.parametrize("path", sorted((ROOT / "reports").rglob("*.py")), ids=str)
def test_reports_know_of_the_engine_its_records_and_how_a_list_of_kinds_is_made(path: Path) -> None:
    rooms = set(rooms_imported(ast.parse(path.read_text())))
    assert {room for room in rooms if not room.startswith("reports")} <= {RECORDS, "engine.kinds"}


@pytest.mark.parametrize("path", sorted((ROOT / "engine/records").rglob("*.py")), ids=str)
def test_records_know_nothing_of_ours(path: Path) -> None:
    assert set(rooms_imported(ast.parse(path.read_text()))) <= {RECORDS, "engine.kinds"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_keeps_the_rules_of_the_house(path: Path) -> None:
    package, text = path.relative_to(ROOT).parts[0], path.read_text()
    tree = ast.parse(text)
    names = set(imported(tree))
    assert names & OURS <= ALLOWED[package]
    assert not names & FORBIDDEN[package]
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_nothing_of_ours_unpickles_or_evaluates() -> None:
    dangerous = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert not set(imported(tree)) & dangerous, path
        calls = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec"}, path


def test_top_level_holds_the_agreed_folders_and_files_only() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    top = {name.split("/")[0] for name in listed if name and not name.startswith(".")}
    assert top <= {
        "pyproject.toml",
        "README.md",
        "constraints.txt",
        "Makefile",
        "docs",
        "orchestrator",
        "engine",
        "grids",
        "reports",
        "tests",
    }


@pytest.mark.parametrize(
    "module",
    ["orchestrator.cli", "orchestrator.grid", "orchestrator.console.plan_view", "engine.config.experiment"],
)
def test_planning_imports_no_heavy_library(module: str) -> None:
    heavy = {"ray", "torch", "mlflow", "optuna", "pandas", "matplotlib"}
    code = f"import sys, {module}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
