"""`orch process`: what a recipe's objective does at every noise level, as a table and a picture."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import RecipeName, load_experiment, make_console, picture_path

NAME = "process"


def command(
    recipe: RecipeName,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write the picture (PNG); process_RECIPE.png by default."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON; draw a picture only with --out.")
    ] = False,
) -> None:
    """Show noise levels, weights, share of the loss and preconditioning of a recipe's objective.
    Trains nothing.

    Example: orch process edm_cifar10
    """
    import json
    from dataclasses import asdict

    from orchestrator.console.process_view import design_curves, levels_table
    from reports.figures.process import plot_process
    from reports.figures.style import styled, to_png

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
            picture.write_bytes(to_png(plot_process(curves)))
        typer.echo(f"picture: {picture}", err=as_json)
