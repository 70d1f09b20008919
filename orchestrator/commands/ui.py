"""`orch ui`: MLflow's page over this storage, on this machine only."""

from typing import Annotated

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, StoragePath

NAME = "ui"


def command(
    storage: StoragePath = DEFAULT_STORAGE,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve MLflow on 127.0.0.1 until Ctrl-C.

    Example: orch ui --port 5001
    """
    import subprocess
    import sys

    from orchestrator.storage.store import Store
    from orchestrator.tracking.chart_links import chart_links
    from orchestrator.tracking.connection import tracking_uri

    store = Store.open(storage)
    address = f"http://127.0.0.1:{port}"
    typer.echo(f"MLflow at {address} (Ctrl-C ends it)")
    for name, link in chart_links(store, address):
        typer.echo(f"  {name}: {link}")
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        tracking_uri(store),
        "--workers",
        "1",
    ]
    raise typer.Exit(
        subprocess.run([*server, "--host", "127.0.0.1", "--port", str(port)], check=False).returncode
    )
