"""`orch toy`: what the number of steps does to a sampler whose denoiser is exact."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.commands.options import make_console, picture_path

NAME = "toy"


def command(
    data: Annotated[
        Literal["two_moons", "eight_gaussians", "both"], typer.Option("--data", help="The points to sample.")
    ] = "both",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the latents and of DDPM's noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the picture (PNG); toy_DATA.png by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the distances as JSON; draw a picture only with --out.")
    ] = False,
) -> None:
    """Sample 2-D points with DDPM, DDIM and flow matching (Euler, RK4) in 5, 10, 20, 50 and 200 steps.
    Trains nothing.

    The denoiser is exact and all samplers start from the same latents: what differs is their own error, shown
    as energy distance to the points. As in the companion text 004, Euler shows moons at K = 5 and RK4 is
    closest at every K. DDPM, with its betas respaced to the K steps, needs about 50 here; the text names 200.

    Example: orch toy --data two_moons
    """
    import json
    import time

    from orchestrator.console.toy_view import distances, distances_table, headline, toy_grid
    from reports.figures.style import styled, to_png
    from reports.figures.toy import plot_toy

    picture = picture_path(out, f"toy_{data}.png")
    console = make_console()
    started = time.monotonic()
    names = ("two_moons", "eight_gaussians") if data == "both" else (data,)
    with make_console(stderr=True).status("sampling"):
        grids = [toy_grid(name, seed) for name in names]
    if as_json:
        typer.echo(json.dumps({"seed": seed, "grids": [distances(grid) for grid in grids]}, allow_nan=False))
    for grid in () if as_json else grids:
        console.print(headline(grid), highlight=False)
        console.print(distances_table(grid))
    if out is not None or not as_json:
        with styled():
            picture.write_bytes(to_png(plot_toy(grids)))
        typer.echo(f"picture: {picture}   ({time.monotonic() - started:.0f} s)", err=as_json)
    if not as_json:
        typer.echo("next: orch plan grids/objectives.yaml   (such solvers on trained networks)")
