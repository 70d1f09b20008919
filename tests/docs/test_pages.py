"""What README and docs point at is there: files, pages, commands, shipped grids."""

import re
from pathlib import Path

import pytest

from orchestrator.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "data" / "README.md"])
OURS = r"(?:engine|orchestrator|reports|grids|tests|docs)/[\w./*-]+\.(?:py|yaml|md|csv|json|png)"


def text_without_listings(page: Path) -> str:
    """A page's prose: files that a reader is told to write do not exist yet."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_without_listings(page))
    for link in links:
        if not re.match(r"\w+:", link):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.name.startswith("add-")], ids=lambda page: page.name
)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # tells of files as they were then
    for name in re.findall(rf"`({OURS})`", text_without_listings(page)):
        assert list(ROOT.glob(name)), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    known = {command.name for command in app.registered_commands}
    shown = set(re.findall(r"(?:^|[`$] ?)orch ([a-z][a-z-]+)\b", page.read_text(), flags=re.MULTILINE))
    assert shown <= known, shown - known


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [
        page.name
        for page in (ROOT / "docs").glob("*.md")
        if page.name != "README.md" and f"({page.name})" not in index
    ]
    assert not missing


def test_every_shipped_grid_is_described() -> None:
    described = (ROOT / "docs" / "grid-file.md").read_text()
    assert [path.stem for path in (ROOT / "grids").glob("*.yaml") if f"`{path.stem}`" not in described] == []


def test_the_readme_is_one_screen_after_another_and_no_more() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= 150


def test_a_paper_that_is_cited_is_in_the_bibliography() -> None:
    known = (ROOT / "docs" / "bibliography.md").read_text()
    for package in ("engine", "orchestrator", "reports", "grids"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                text = path.read_text()
                for number in re.findall(r"arXiv (\d{4}\.\d{5})", text):
                    assert number in known, f"{path}: arXiv {number}"
                for author in re.findall(r"\b([A-Z][a-zA-Zä]+(?: et al\.| & [A-Z][a-z]+)) 20\d\d", text):
                    assert author in known, f"{path}: {author}"
