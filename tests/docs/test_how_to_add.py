"""The pages "how to add": their files are written into a
fresh copy of the project and their commands are run there.

A fenced block whose first line is `# file: PATH` is a file; a `console` block has commands behind
`$ `, and below a command lines that its output must hold, where `...` stands for anything. Between
the two, nothing of the copy changes: that no other product file has to be touched is what is shown.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("add-*.md"))
PRODUCT = ("engine", "orchestrator", "reports")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command line and what its output must hold."""

    line: str
    shown: tuple[str, ...]


def files_of(page: Path) -> dict[str, str]:
    """The files that a page tells its reader to write: path -> content."""
    found = {}
    for _, body in BLOCK.findall(page.read_text()):
        first, _, rest = body.partition("\n")
        if match := re.match(r"# file: (\S+)$", first):
            found[match[1]] = rest
    return found


def commands_of(page: Path) -> list[Command]:
    """The commands of a page, in order."""
    found = []
    for language, body in BLOCK.findall(page.read_text()):
        if language != "console":
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, *shown = part.strip().split("\n")
            found.append(Command(line, tuple(text for text in shown if text.strip())))
    return found


def run(command: Command, folder: Path, storage: Path) -> None:
    """Run a command as the project's user would; its output must hold what the page shows."""
    tools = {
        "orch": f"{sys.executable} -m orchestrator",
        "pytest": f"{sys.executable} -m pytest",
        "python": sys.executable,
    }
    name, _, rest = command.line.partition(" ")
    path = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ORCH_STORAGE": str(storage)}
    line = f"{tools.get(name, name)} {rest}"
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"$ {command.line}\n{output}"
    for shown in command.shown:
        pattern = ".*".join(re.escape(part.strip()) for part in shown.split("..."))
        assert re.search(pattern, output), f"$ {command.line}\ndoes not show {shown!r} but\n{output}"


def test_there_is_a_page_for_every_kind_that_a_package_may_offer() -> None:
    assert {page.stem for page in PAGES} >= {
        "add-a-sampler",
        "add-a-backbone",
        "add-a-metric",
        "add-an-extractor",
        "add-a-data-set",
        "add-a-table",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_adds_one_file_or_folder_and_its_test(page: Path) -> None:
    inside = [Path(name) for name in files_of(page) if name.split("/")[0] in PRODUCT]
    assert inside, "the page adds nothing to the product"
    assert not [name for name in inside if (ROOT / name).exists()], "the page changes a file that is there"
    folders = {name.parent for name in inside}
    assert len(inside) == 1 or (page.stem == "add-a-backbone" and len(folders) == 1)
    assert [name for name in files_of(page) if name.startswith("tests/")], "the page tests nothing"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all pages: what several of them train alike is trained once."""
    return tmp_path_factory.mktemp("pages") / "runs"


SWEPT = {"add-a-sampler", "add-a-backbone"}
"""Pages whose sweeps every test run does; `make test-pages` does those of all, a minute or two each."""


def fresh_copy(page: Path, folder: Path) -> Path:
    """A copy of the project with the files of a page."""
    copy = folder / "orch"
    for name in (*PRODUCT, "grids", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "bench"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    for name, content in files_of(page).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(content)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_tested_and_planned_in_a_fresh_copy(page: Path, tmp_path: Path) -> None:
    copy = fresh_copy(page, tmp_path)
    for command in commands_of(page):
        if not command.line.startswith("orch sweep"):
            run(command, copy, tmp_path / "runs")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page.stem in SWEPT else pytest.mark.pages) for page in PAGES],
    ids=lambda page: page.stem,
)
def test_a_page_is_run_and_reported_in_a_fresh_copy(page: Path, tmp_path: Path, storage: Path) -> None:
    pytest.importorskip("ray")
    copy = fresh_copy(page, tmp_path)
    for command in commands_of(page):
        if command.line.startswith("orch sweep"):
            run(command, copy, storage)
    for name in (name for name in files_of(page) if re.fullmatch(r"grids/[a-z_]+\.yaml", name)):
        assert (storage / "sweeps" / f"{Path(name).stem}-smoke" / "report" / "report.html").is_file()
