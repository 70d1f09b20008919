"""`orch diagnose`: how far a training's loss lies above the best possible one, noise level by noise level."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, DataRoot, StoragePath, make_console, picture_path

NAME = "diagnose"


def command(
    training: Annotated[
        str,
        typer.Argument(
            help="Identity of a finished training, or its first letters; or a sweep that has only one.",
            show_default=False,
        ),
    ],
    storage: StoragePath = DEFAULT_STORAGE,
    data_root: DataRoot = None,
    snapshot: Annotated[
        float | None, typer.Option("--snapshot", help="Which one, by kimg shown; the last by default.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-snapshot", help="Also print the gap of every snapshot of the training.")
    ] = False,
    levels: Annotated[int, typer.Option("--levels", min=2, max=200, help="Noise levels, even in log sigma.")] = 24,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Noisy images at each noise level.")] = 512,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the picture (PNG); diagnosis_ID.png by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON; draw a picture only with --out.")
    ] = False,
) -> None:
    """Compare a training's loss with its optimum in closed form on the same noisy images [arXiv 2506.13763].

    A diffusion loss does not fall to 0: what it can reach depends on the noise level and on the data. The gap above it
    is what training can still win, and at which noise levels. The numbers are kept with the training.

    Example: orch diagnose 3f2a
    """
    import json
    from dataclasses import asdict

    from orchestrator import diagnosis_view as view
    from orchestrator.store import Store
    from reports.diagnosis_figure import draw_diagnosis
    from reports.figures.style import styled, to_png

    store, request = Store.open(storage), view.Request(levels, draws, data_root)
    folder, identity = view.find_training(store, training)
    experiment = view.trained_experiment(folder)
    picture, shown = picture_path(out, f"diagnosis_{identity[:8]}.png"), view.images_shown_at(experiment, snapshot)
    found, overall = view.measured(experiment, folder, shown, request)
    curves = view.curves(found, overall, experiment, view.title_of(folder, identity, store), shown / 1000)
    if as_json:
        typer.echo(json.dumps({**asdict(curves), "overall": overall.to_json()}, allow_nan=False))
    else:
        console = make_console()
        console.print(f"[bold]{curves.title}[/bold]: {curves.words}", highlight=False)
        console.print(view.levels_table(curves))
    if every and not as_json:
        for images_shown in experiment.train.snapshot_images:
            _, at_snapshot = view.measured(experiment, folder, images_shown, request)
            typer.echo(f"{images_shown / 1000:10g} kimg: {view.excess_words(at_snapshot)}")
    if out is not None or not as_json:
        with styled():
            picture.write_bytes(to_png(draw_diagnosis(curves)))
        typer.echo(f"picture: {picture}", err=as_json)
