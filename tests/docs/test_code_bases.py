"""What docstrings claim of released programs has a test, and the page that says which is right about both."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/code-bases.md").read_text()
HELD = PAGE.split("## Claims of docstrings")[1].split("### Claims without")[0]
WITHOUT = PAGE.split("### Claims without")[1]
CLAIM = re.compile(
    r"\b[Aa]s (?:EDM2?|ADM|DiT|DyDiT|torch-fidelity|improved-diffusion|k-diffusion|Analytic-DPM|P\d)\b"
    r"|\bcode\b[^\]\".]{0,60}\]"
    r"|[Rr]eleased (?:code|program|head|ramp)"
    r"|\b(?:P\d|EDM2?|ADM|DiT|DyDiT|Min-SNR|Analytic-DPM|OCM|k-diffusion)'s (?:own )?(?:code|script|evaluator|program)"
    r"|\bas in the release\b"
    r"|\btorch-fidelity's\b"
)
"""Words by which a docstring, or a comment, rests on a program."""


def rows(part: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| `")
    ]


def files_of(part: str) -> set[str]:
    return {row[0].strip("`") for row in rows(part)}


def named_tests(part: str) -> list[str]:
    return sorted({name for row in rows(part) for name in re.findall(r"`(\S+\.py::test_\w+)`", row[2])})


def claims(path: Path) -> list[str]:
    text = " ".join(path.read_text().split())
    return [text[max(0, found.start() - 40) : found.end() + 40] for found in CLAIM.finditer(text)]


def test_every_row_names_a_test() -> None:
    for row in rows(HELD):
        assert re.search(r"\.py::test_\w+`", row[2]), row


@pytest.mark.parametrize("name", named_tests(HELD))
def test_the_test_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    path = next(path for path in (ROOT / "tests/engine" / file, ROOT / "tests" / file) if path.is_file())
    defined = {
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    }
    assert function in defined


@pytest.mark.parametrize("name", sorted(files_of(HELD) | files_of(WITHOUT)))
def test_the_file_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "engine").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_that_rests_on_a_released_program_says_by_which_test(path: Path) -> None:
    """Add a row to docs/code-bases.md: the file, what it claims,
    and a test that rests on something else than our code."""
    found = claims(path)
    if found:
        assert str(path.relative_to(ROOT)) in files_of(HELD) | files_of(WITHOUT), found
