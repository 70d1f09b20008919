"""The K-budget grid, from the engine, and how its distances look on a terminal."""

from rich.table import Table
from rich.text import Text

from engine.evaluation.toy import DATASETS, chance_distance, energy_distance, k_budget, latents
from engine.records.curves import ToyCloud, ToyGrid
from reports.figures.toy import rounded

TITLES = {"two_moons": "Two moons", "eight_gaussians": "Eight Gaussians"}


def toy_grid(dataset: str, seed: int) -> ToyGrid:
    """The clouds of every sampler at every number of steps, and the distances to compare theirs with."""
    data = DATASETS[dataset]()
    clouds = [
        ToyCloud(one.sampler, one.k, one.nfe, one.distance, one.points) for one in k_budget(dataset, seed)
    ]
    num_samples = len(clouds[0].points)
    return ToyGrid(
        title=TITLES[dataset],
        data=data.numpy(),
        clouds=clouds,
        chance=chance_distance(data, num_samples),
        noise=energy_distance(latents(seed, num_samples), data),
    )


def distances(grid: ToyGrid) -> dict[str, object]:
    """All of a grid but its points, for JSON."""
    clouds = [
        {"sampler": one.sampler, "k": one.k, "nfe": one.nfe, "distance": one.distance} for one in grid.clouds
    ]
    return {"data": grid.title, "noise": grid.noise, "chance": grid.chance, "clouds": clouds}


def headline(grid: ToyGrid) -> str:
    """What the table shows, with the distances to compare with."""
    compared = f"latents {grid.noise:.2g}; bold: within chance, {grid.chance:.2g}"
    return f"[bold]{grid.title}[/bold]: energy distance ({compared})"


def distances_table(grid: ToyGrid) -> Table:
    """Energy distance for each sampler and number of steps; bold within chance."""
    table = Table(box=None, header_style="bold")
    table.add_column("")
    for k in grid.steps:
        table.add_column(f"K = {k}", justify="right")
    for sampler in grid.samplers:
        found = [grid.cloud(sampler, k).distance for k in grid.steps]
        table.add_row(
            sampler, *(Text(rounded(far), style="bold" if far <= grid.chance else "") for far in found)
        )
    return table
