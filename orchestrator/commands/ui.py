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

    from orchestrator.store import Store
    from orchestrator.tracking import tracking_uri

    uri = tracking_uri(Store.open(storage))
    typer.echo(f"MLflow at http://127.0.0.1:{port} (Ctrl-C ends it)")
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        uri,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    raise typer.Exit(subprocess.run([*server, "--workers", "1"], check=False).returncode)
