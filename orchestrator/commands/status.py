"""`orch status`: the sweeps of a storage and how far they are."""

from typing import Annotated

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, StoragePath, make_console

NAME = "status"


def command(
    sweep: Annotated[
        str | None, typer.Argument(help="Name of one sweep, to see its units.", show_default=False)
    ] = None,
    storage: StoragePath = DEFAULT_STORAGE,
) -> None:
    """Show what is finished, failed and missing, straight from the store.

    Example: orch status quickstart
    """
    from orchestrator.console.status_view import show_status
    from orchestrator.storage.store import Store

    show_status(Store.open(storage), sweep, make_console())
