"""`orch why`: where a cell or training stands, and what makes it different from what is finished."""

from typing import Annotated

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, StoragePath, make_console

NAME = "why"


def command(
    unit: Annotated[
        str, typer.Argument(help="Identity of a cell or training, or its first letters.", show_default=False)
    ],
    storage: StoragePath = DEFAULT_STORAGE,
) -> None:
    """Explain a unit: cached or missing and why, which points collapsed into it, the nearest finished unit.

    Example: orch why 3f2a
    """
    from orchestrator.console.why import explain
    from orchestrator.storage.store import Store

    explain(Store.open(storage), unit, make_console())
