"""Options shared by several commands, and what they stand for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from engine.config.experiment import Experiment

GridPath = Annotated[
    Path, typer.Argument(help="Grid file, for example grids/quickstart.yaml.", show_default=False)
]
RecipeName = Annotated[
    str, typer.Argument(help="A recipe's name or file, or a grid file for its anchor.", show_default=False)
]
StoragePath = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="ORCH_STORAGE",
        help="Where results live: a folder, or a URI such as s3://bucket/path.",
    ),
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="The same axes on the embedded digits with a tiny model, in minutes.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        resolve_path=True,
        envvar="ORCH_DATA_ROOT",
        help="Folder that holds the data sets (not needed for digits).",
    ),
]

DEFAULT_STORAGE = "runs"
PIPE_WIDTH = 160


def make_console(*, stderr: bool = False) -> "Console":
    """A console that never breaks a line of text itself, and leaves tables room when its output is piped."""
    from rich.console import Console

    console = Console(stderr=stderr, soft_wrap=True)
    return console if console.is_terminal else Console(stderr=stderr, soft_wrap=True, width=PIPE_WIDTH)


def picture_path(out: Path | None, default: str) -> Path:
    """Where a picture goes. Raises UsageError for a folder that is not there and for another kind of file."""
    from orchestrator.errors import UsageError

    path = out or Path(default)
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: the picture is a PNG; give a name that ends in .png")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    return path


def load_experiment(recipe: str) -> tuple[str, "Experiment"]:
    """Name and experiment of a recipe, given by name or file, or of a grid file's anchor.

    Raises UsageError when there is no such recipe, GridError with all that is wrong in the file.
    """
    from orchestrator.errors import UsageError
    from orchestrator.grid import load_sweep
    from orchestrator.grid.recipe import PACKAGED, read_recipe, recipe_names
    from orchestrator.grid.yaml_source import did_you_mean, read_document

    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if "recipe" in read_document(path).data:
            return path.stem, load_sweep(path).anchor
        return path.stem, read_recipe(path)
    for folder in (Path("grids"), PACKAGED):
        file = folder / "recipes" / f"{recipe}.yaml"
        if file.is_file():
            return recipe, read_recipe(file)
    known = recipe_names(Path("grids"))
    advice = "; ".join(filter(None, (f"allowed: {', '.join(known)}", did_you_mean(recipe, known))))
    raise UsageError(f'no recipe "{recipe}"; {advice}')
