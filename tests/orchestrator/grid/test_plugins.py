"""`plugins:` names the packages whose kinds a grid or recipe uses; one that is missing is told in place."""

from pathlib import Path

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import expand, load_sweep
from orchestrator.grid import plugins as grid_plugins
from orchestrator.grid.json_schema import grid_json_schema
from orchestrator.grid.recipe import PACKAGED, read_recipe
from orchestrator.planning.make_plan import make_plan

GRID = """schema: orch/grid@1
name: test
recipe: edm_digits
varies: scale
plugins: {}
axes: {{model.channels: [64]}}
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One package is installed: orch-midpoint 1.3."""

    def version(name: str) -> str:
        if name != "orch-midpoint":
            raise grid_plugins.PackageNotFoundError(name)
        return "1.3"

    monkeypatch.setattr(grid_plugins, "version", version)


def grid(folder: Path, plugins: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(GRID.format(plugins))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(GridError) as caught:
        load_sweep(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "asked", ["[]", "[orch-midpoint]", "[orch-midpoint>=1.2]", "['orch-midpoint>=1.2,<2']"]
)
def test_what_is_installed_will_do_and_changes_no_identity(asked: str, tmp_path: Path) -> None:
    def identities(path: Path) -> list[str]:
        sweep = load_sweep(path)
        return [cell.cell_id for cell in make_plan(sweep, expand(sweep)).cells]

    with_plugins = identities(grid(tmp_path, asked))
    plain = tmp_path / "plain.yaml"
    plain.write_text(GRID.replace("plugins: {}\n", "").format())
    assert with_plugins == identities(plain)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("[orch-euler]", "5:11 plugins[0]: this needs the package orch-euler, which is not installed; "
         "install it: pip install 'orch-euler'"),
        ("[orch-midpoint, orch-euler>=2]", "5:26 plugins[1]: this needs the package orch-euler, which is not "
         "installed; install it: pip install 'orch-euler>=2'"),
        ("[orch-midpoint>=1.4]", "5:11 plugins[0]: this needs orch-midpoint>=1.4, and orch-midpoint 1.3 is "
         "installed; install another: pip install --upgrade 'orch-midpoint>=1.4'"),
        ("['orch-midpoint @ https://example.org/x.whl']", "says more than a package and its version"),
        ("[two words]", '"two words" is no package; give a name'),
        ("orch-midpoint", 'plugins: expected a list, got "orch-midpoint"'),
    ],
)  # fmt: skip
def test_a_package_that_is_not_here_or_is_none_is_told_at_its_place(
    asked: str, words: str, tmp_path: Path
) -> None:
    assert words in refusal(grid(tmp_path, asked))


def test_a_recipe_names_its_packages_too(tmp_path: Path) -> None:
    recipe = tmp_path / "recipes/own.yaml"
    recipe.parent.mkdir()
    text = (PACKAGED / "recipes/edm_digits.yaml").read_text()
    recipe.write_text(f"plugins: [orch-midpoint]\n{text}")
    assert read_recipe(recipe) == read_recipe(PACKAGED / "recipes/edm_digits.yaml")
    recipe.write_text(f"plugins: [orch-euler]\n{text}")
    with pytest.raises(GridError, match=r"own.yaml:1:11 plugins\[0\]: this needs the package orch-euler"):
        read_recipe(recipe)
    recipe.write_text(f"plugins: orch-midpoint\n{text}")
    with pytest.raises(GridError, match=r"own.yaml:1:10 plugins: expected a list of packages"):
        read_recipe(recipe)


def test_editors_complete_the_key() -> None:
    assert grid_json_schema()["properties"]["plugins"]["items"] == {"type": "string"}
