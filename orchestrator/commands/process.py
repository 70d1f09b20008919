"""`orch process`: what a recipe's objective does at every noise level, as a table and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import make_console, picture_path

if TYPE_CHECKING:
    from engine.spec import Experiment

NAME = "process"


def command(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name or file, or a grid file for its anchor.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the picture (PNG); process_RECIPE.png by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON; draw a picture only with --out.")
    ] = False,
) -> None:
    """Show noise levels, weights, share of the loss and preconditioning of a recipe's objective. Trains nothing.

    Example: orch process edm_cifar10
    """
    import json
    from dataclasses import asdict

    from orchestrator.process_view import design_curves, levels_table
    from reports.figures.style import styled, to_png
    from reports.process_figure import draw_process

    name, experiment = load_experiment(recipe)
    picture = picture_path(out, f"process_{name}.png")
    curves = design_curves(experiment, name)
    if as_json:
        typer.echo(json.dumps(asdict(curves), allow_nan=False))
    else:
        console = make_console()
        console.print(f"[bold]{name}[/bold]: {curves.words}", highlight=False, soft_wrap=False)
        console.print(levels_table(curves, experiment.base_objective.design.process))
    if out is not None or not as_json:
        with styled():
            picture.write_bytes(to_png(draw_process(curves)))
        typer.echo(f"picture: {picture}", err=as_json)


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
