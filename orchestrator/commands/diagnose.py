"""`orch diagnose`: how far a training's loss lies above the best possible one, noise level by noise level."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, DataRoot, StoragePath, make_console, picture_path

NAME = "diagnose"

Named = Annotated[
    str,
    typer.Argument(
        help="Identity of a finished training, or its first letters; or a sweep that has only one.",
        show_default=False,
    ),
]
SnapshotKimg = Annotated[
    float | None, typer.Option("--snapshot", help="By kimg shown; the last one by default.")
]
Every = Annotated[bool, typer.Option("--every-snapshot", help="Also print the gap of every snapshot.")]
Draws = Annotated[int, typer.Option("--draws", min=2, help="Noisy images at each noise level.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Where to write the picture; diagnosis_ID.png by default.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the numbers as JSON; draw a picture only with --out.")
]


def command(
    training: Named,
    storage: StoragePath = DEFAULT_STORAGE,
    data_root: DataRoot = None,
    snapshot: SnapshotKimg = None,
    every: Every = False,
    draws: Draws = 512,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Compare a training's loss with its optimum in closed form on the same noisy images (arXiv 2506.13763).

    A diffusion loss does not fall to 0: how far it can fall depends on the noise level and the data. The gap
    above the optimum is what training can still win, and where. The numbers are kept with the training.

    Example: orch diagnose 3f2a
    """
    import json
    from dataclasses import asdict

    from orchestrator.console import diagnosis_view as view
    from orchestrator.storage.store import Store
    from reports.figures.diagnosis import plot_diagnosis
    from reports.figures.style import styled, to_png

    asked = view.find_training(Store.open(storage), training, draws, data_root)
    picture = picture_path(out, f"diagnosis_{asked.identity[:8]}.png")
    curves = view.diagnosis_curves(asked, asked.snapshot_at(snapshot))
    if as_json:
        typer.echo(json.dumps(asdict(curves), allow_nan=False))
    else:
        view.show(curves, asked, every, make_console())
    if out is not None or not as_json:
        with styled():
            picture.write_bytes(to_png(plot_diagnosis(curves)))
        typer.echo(f"picture: {picture}", err=as_json)
