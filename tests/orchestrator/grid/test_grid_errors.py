"""Every way a grid file can be wrong is reported in one pass, in plain words, at its line and column.

Each file of `malformed/` starts with the problems expected of it: `# expected: line:column field: message`.
"""

import pickle
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, Field, ValidationError
from pydantic_core.core_schema import ErrorType

from orchestrator.errors import (
    GridError,
    Interrupted,
    OrchError,
    Problem,
    StorageBusy,
    UnitsFailed,
    UsageError,
)
from orchestrator.grid import expand, load_sweep
from orchestrator.grid import recipe as grid_recipe
from orchestrator.grid.messages import WORDS, faults
from orchestrator.grid.yaml_source import MAX_BYTES, read_document

MALFORMED = Path(__file__).parent / "malformed"
MARK = "# expected: "


def problems_of(path: Path, *, smoke: bool = False) -> list[str]:
    with pytest.raises(GridError) as caught:
        expand(load_sweep(path, smoke=smoke))
    return str(caught.value).split("\n")


@pytest.mark.parametrize("path", sorted(MALFORMED.glob("*.yaml")), ids=lambda path: path.stem)
def test_malformed_grid_is_reported_exactly(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(MALFORMED)
    monkeypatch.setattr(grid_recipe, "PACKAGED", tmp_path)  # only the recipes of this folder exist
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, "the file must start with what is expected of it"
    assert [problem.removeprefix(f"{path.name}:") for problem in problems_of(Path(path.name))] == expected


def test_a_level_violation_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(
        "schema: orch/grid@1\nname: x\nrecipe: iddpm_cifar10\nvaries: "
        "scale\naxes:\n  model.channels: [64, 160]\n"
    )
    assert problems_of(Path("x.yaml")) == [
        "x.yaml:6:24 axes.model.channels[1]: 160 is not a playbook level; allowed: 64, 96, 128, 192; "
        "set off_playbook: true to use it anyway (the report will show it)"
    ]


# Files that cannot be read.


def test_a_missing_file_suggests_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("")
    wanted, there = tmp_path / "quikstart.yaml", tmp_path / "quickstart.yaml"
    assert problems_of(wanted) == [f'{wanted}: no such file; did you mean "{there}"?']


def test_a_folder_is_no_grid(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    assert problems_of(path) == [f"{path}: larger than 1,000,000 bytes"]


# Smoke overlays.


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ("train: {total_kmg: 1}", "smoke/own.yaml:1:9 train.total_kmg: unknown field; did you mean"),
        ("train: {total_kimg: few}", 'smoke/own.yaml:1:21 train.total_kimg: expected a number, got "few"'),
        ("train: {seed: 1}", "smoke/own.yaml:1:9 train.seed: seeds are set by seeds: {train: [...]}"),
        (
            "train: {total_kimg: 1}",
            "smoke/own.yaml:1:21 train.total_kimg: snapshot_kimg 100 exceeds total_kimg 1",
        ),
        ("train: [", "smoke/own.yaml:1:9: YAML syntax: expected the node content, but found '<stream end>'"),
    ],
)
def test_a_wrong_smoke_overlay_is_named(
    overlay: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_own_recipe(tmp_path)
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke" / "own.yaml").write_text(overlay)
    (problem,) = problems_of(Path("grid.yaml"), smoke=True)
    assert problem.startswith(expected)


def test_a_recipe_without_smoke_overlay_says_which_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grid_recipe, "PACKAGED", tmp_path)
    write_own_recipe(tmp_path)
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke" / "other.yaml").write_text("{}")
    assert problems_of(Path("grid.yaml"), smoke=True) == [
        'grid.yaml:3:9 recipe: recipe "own" has no smoke overlay; allowed: other'
    ]


def write_own_recipe(folder: Path) -> None:
    (folder / "recipes").mkdir()
    (folder / "recipes" / "own.yaml").write_text((MALFORMED / "recipes" / "anchor.yaml").read_text())
    (folder / "grid.yaml").write_text("schema: orch/grid@1\nname: x\nrecipe: own\nvaries: scale\n")


# The words and the exceptions themselves.


def test_only_errors_that_exist_are_reworded() -> None:
    """The kinds are pydantic's own; a renamed one would fall back to pydantic's words."""
    assert set(WORDS) <= set(get_args(ErrorType))


def test_an_error_without_own_words_keeps_those_of_pydantic() -> None:
    class Even(BaseModel):
        number: int = Field(multiple_of=2)

    with pytest.raises(ValidationError) as caught:
        Even(number=3)
    assert [fault.message for fault in faults(caught.value, Even)] == ["Input should be a multiple of 2"]


def test_exit_codes_follow_the_tree() -> None:
    tree: tuple[type[OrchError], ...] = (
        OrchError,
        UsageError,
        GridError,
        StorageBusy,
        UnitsFailed,
        Interrupted,
    )
    assert [error.exit_code for error in tree] == [1, 2, 2, 2, 1, 130]


def test_problems_are_sorted_by_place_told_once_and_survive_pickling() -> None:
    late, early = (
        Problem("a.yaml", 9, 1, "x", "late"),
        Problem("a.yaml", 2, 5, "", "early", ("b", "c"), "ask"),
    )
    error = pickle.loads(pickle.dumps(GridError([late, early, late])))
    assert error.problems == (early, late)
    assert str(error) == "a.yaml:2:5: early; allowed: b, c; ask\na.yaml:9:1 x: late"


def test_document_positions_survive_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\nb: 2\n")
    document = read_document(tmp_path / "bom.yaml")
    assert (document.data, document.marks["b",].key) == ({"a": 1, "b": 2}, (2, 1))
