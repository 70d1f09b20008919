"""The floors of orchestrator/: a room knows rooms of lower
floors only, typing and imports inside functions included."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (
    {"errors", "formatting"},
    {"grid"},
    {"planning", "storage"},
    {"console", "results", "search", "tracking"},
    {"execution"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}
SOURCES = sorted((ROOT / "orchestrator").rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "orchestrator").parts[0].removesuffix(".py")


def rooms_known_to(path: Path) -> Iterator[str]:
    """The rooms that a file imports from, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "orchestrator":
            names = [f"orchestrator.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.startswith("orchestrator."):
                yield name.split(".")[1]


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in SOURCES} - {"__init__"} == set(FLOOR_OF)
    assert len(FLOORS) <= 8


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_knows_lower_floors_only(path: Path) -> None:
    own = room_of(path)
    upwards = {room for room in rooms_known_to(path) if room != own and FLOOR_OF[room] >= FLOOR_OF[own]}
    assert not upwards


PAGE = (ROOT / "docs/architecture.md").read_text()
NAMED = sorted(
    set(
        re.findall(
            r"`((?:engine|reports|grid|planning|search|results|execution|tracking)(?:\.\w+){2,})", PAGE
        )
    )
)


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_on_architecture_names_is_there(name: str) -> None:
    whole = name if name.split(".")[0] in ("engine", "reports") else f"orchestrator.{name}"
    module, _, member = whole.rpartition(".")
    file = ROOT / f"{module.replace('.', '/')}.py"
    assert re.search(rf"^(def|class) {member}\b", file.read_text(), re.MULTILINE)
