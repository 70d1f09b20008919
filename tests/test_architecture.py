"""The rules of the house: who may import whom, on which
floors, how long things are, what the top level holds."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("engine", "orchestrator", "reports")
FORBIDDEN = {
    "engine": {"ray", "mlflow", "optuna", "pandas", "yaml", "ruamel"},
    "orchestrator": set(),
    "reports": {"torch", "ray", "mlflow"},
}
ALLOWED = {"engine": {"engine"}, "orchestrator": set(OURS), "reports": {"reports", "engine"}}
OPEN_TO_REPORTS = ("engine.records", "engine.kinds")
"""Of the engine; neither imports torch."""

MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 45
MAX_FLOORS = {"engine": 12, "orchestrator": 8, "reports": 8}
MAX_ROOM_ARROWS = {"engine": 100, "orchestrator": 60, "reports": 60}
MAX_UNTYPED = 15
"""Mentions of `dict[str, Any]` or `Mapping[str, Any]`: JSON of others, and Ray's own configurations."""

SOURCES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all modules that a file imports: at its top, inside functions and for typing alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in MODULES else node.module


def room_of(module: str) -> str:
    """A folder directly below a package, or a file that lies there."""
    return ".".join(module.split(".")[:2])


@cache
def arrows(package: str) -> dict[str, set[str]]:
    """Room -> the rooms of the same package that it imports."""
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module.split(".")[0] != package or module == package:
            continue
        room = room_of(module)
        used = {room_of(name) for name in imported(tree_of(path)) if name.startswith(f"{package}.")}
        found.setdefault(room, set()).update(used - {room})
    return found


def floors(package: str) -> list[set[str]]:
    """Rooms by floor: each stands above all that it imports. Raises AssertionError for a circle."""
    left = dict(arrows(package))
    found: list[set[str]] = []
    while left:
        ground = {room for room, below in left.items() if not below & left.keys()}
        assert ground, f"rooms that import each other in a circle: {left}"
        found.append(ground)
        left = {room: below for room, below in left.items() if room not in ground}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_rules_of_the_house(path: Path) -> None:
    package, text, tree = path.relative_to(ROOT).parts[0], path.read_text(), tree_of(path)
    tops = {name.split(".")[0] for name in imported(tree)}
    assert tops & set(OURS) <= ALLOWED[package]
    assert not tops & FORBIDDEN[package]
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("package", OURS)
def test_rooms_stand_on_floors_without_a_circle(package: str) -> None:
    assert len(floors(package)) <= MAX_FLOORS[package]
    assert sum(len(below) for below in arrows(package).values()) <= MAX_ROOM_ARROWS[package]


def test_every_room_says_what_it_is() -> None:
    for path in SOURCES:
        if path.name == "__init__.py" and path.parent.parent.name in OURS:
            assert ast.get_docstring(tree_of(path)), path


def test_reports_know_records_and_nothing_else_of_the_engine() -> None:
    for module, path in MODULES.items():
        if module.startswith("reports"):
            used = {name for name in imported(tree_of(path)) if name.startswith("engine")}
            assert all(name.startswith(OPEN_TO_REPORTS) for name in used), (module, used)


def test_records_know_no_other_room_of_ours() -> None:
    for module, path in MODULES.items():
        if module.startswith("engine.records"):
            used = {name for name in imported(tree_of(path)) if name.split(".")[0] in OURS}
            assert all(name.startswith(OPEN_TO_REPORTS) for name in used), (module, used)


def kind_classes() -> dict[str, Path]:
    """Name of every built-in kind's class -> the file or the folder that owns it."""
    from engine.backbones.registry import BACKBONES
    from engine.objectives.registry import OBJECTIVES
    from engine.samplers.registry import SAMPLERS

    found = {}
    for registry in (SAMPLERS, BACKBONES, OBJECTIVES):
        for kind in registry.values():
            path = MODULES[kind.__module__]
            found[kind.__name__] = path.parent if path.name == "config.py" else path
    return found


def test_nobody_asks_for_a_concrete_kind_outside_of_its_own_files() -> None:
    owners = kind_classes()
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "isinstance"
            ):
                for name in (part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)):
                    owner = owners.get(name)
                    assert owner is None or owner in (path, *path.parents), f"{path}:{node.lineno} {name}"


NAMES_IN_REPORTS = {
    "reports/document/checks.py": "formulas of NFE by P3's own names: the check must not come from the engine",
    "reports/tables/flops_quality.py": "the networks of P5's Table 8, whose numbers stand beside ours",
}
"""Where reports may spell a kind's name, and why."""


def test_reports_spell_no_sampler_and_no_network() -> None:
    from engine.backbones.registry import BACKBONES
    from engine.samplers.registry import SAMPLERS

    kinds = {*BACKBONES, *SAMPLERS}
    for path in (path for path in SOURCES if path.is_relative_to(ROOT / "reports")):
        spelt = {node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant)} & kinds
        assert not spelt or str(path.relative_to(ROOT)) in NAMES_IN_REPORTS, (path, spelt)


def test_untyped_mappings_are_few() -> None:
    found = [path for path in SOURCES for _ in range(_untyped(path.read_text()))]
    assert len(found) <= MAX_UNTYPED, sorted({str(path.relative_to(ROOT)) for path in found})


def _untyped(text: str) -> int:
    return text.count("dict[str, Any]") + text.count("Mapping[str, Any]")


def test_nothing_of_ours_unpickles_or_evaluates() -> None:
    dangerous = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
    for path in SOURCES:
        tree = tree_of(path)
        assert not {name.split(".")[0] for name in imported(tree)} & dangerous, path
        calls = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec"}, path


def test_the_top_level_holds_the_agreed_folders_and_files_only() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.split("/")[0] for name in listed.split("\n") if name and not name.startswith(".")}
    files = {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt", "Makefile"}
    assert top <= {*files, *OURS, "grids", "tests", "docs"}


@pytest.mark.parametrize(
    "module",
    [
        "orchestrator.cli",
        "orchestrator.grid",
        "orchestrator.planning.plan",
        "orchestrator.console.plan_view",
        "engine.config.experiment",
        "engine.records",
    ],
)
def test_planning_imports_no_heavy_library(module: str) -> None:
    heavy = {"ray", "torch", "mlflow", "optuna", "pandas", "matplotlib"}
    code = f"import sys, {module}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
