"""`orch schema`: the JSON Schema of grid files, for editors."""

import typer

NAME = "schema"


def command() -> None:
    """Print the JSON Schema of grid files, so that editors complete and check them.

    Example: orch schema > grid.schema.json, then put `#
    yaml-language-server: $schema=grid.schema.json` atop a grid.
    """
    import json

    from orchestrator.grid.json_schema import grid_json_schema

    typer.echo(json.dumps(grid_json_schema(), indent=2))
