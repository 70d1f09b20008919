"""`orch model`: what the network of a recipe is and what it costs."""

from typing import Annotated

import typer

from orchestrator.commands.options import RecipeName, load_experiment, make_console

NAME = "model"


def command(
    recipe: RecipeName,
    layers: Annotated[bool, typer.Option("--layers", help="Also a table of its layers.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers, layers included, as JSON.")
    ] = False,
) -> None:
    """Show the network of a recipe: its published name, parameters, MACs and FLOPs of a forward pass.
    Trains nothing.

    Example: orch model iddpm_cifar10 --layers
    """
    import json
    from dataclasses import asdict

    from orchestrator.console.model_view import layers_table, network, words
    from orchestrator.errors import UsageError

    name, experiment = load_experiment(recipe)
    try:
        found = network(experiment, name)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    console = make_console()
    for line in words(found):
        console.print(line, highlight=False)
    if layers and found.layers:
        console.print(layers_table(found))
