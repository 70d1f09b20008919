"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated

import typer

GridPath = Annotated[Path, typer.Argument(help="Grid file, for example grids/quickstart.yaml.", show_default=False)]
StoragePath = Annotated[
    str,
    typer.Option(
        "--storage", envvar="ORCH_STORAGE", help="Where results live: a folder, or a URI such as s3://bucket/path."
    ),
]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="The same axes on the embedded digits with a tiny model, in minutes.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", envvar="ORCH_DATA_ROOT", help="Folder that holds the data sets (not needed for digits)."
    ),
]

DEFAULT_STORAGE = "runs"
