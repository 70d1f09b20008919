"""`orch toy`: the K-budget grid as a table, a picture and JSON."""

import io
import json
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from engine.evaluation.toy import DATASETS, chance_distance, energy_distance, k_budget, latents
from orchestrator.commands.toy import command
from orchestrator.console import toy_view
from orchestrator.console.toy_view import TITLES, distances, distances_table, headline, toy_grid
from reports.figures.style import styled, to_png
from reports.figures.toy import plot_toy, rounded

SAMPLERS = ["DDPM", "DDIM", "FM-Euler", "FM-RK4"]

small = cache(partial(k_budget, num_samples=60, steps=(5, 10)))


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 samples in 5 and 10 steps, computed once for each data set and seed."""
    monkeypatch.setattr(toy_view, "k_budget", small)


# The grid and its table.


@pytest.mark.parametrize("name", DATASETS)
def test_the_grid_holds_the_engines_clouds_row_by_row(name: str) -> None:
    grid = toy_grid(name, 0)
    assert (grid.samplers, grid.steps, grid.data.shape) == (SAMPLERS, [5, 10], (512, 2))
    for cloud in small(name, 0):
        own = grid.cloud(cloud.sampler, cloud.k)
        assert (own.nfe, own.distance) == (cloud.nfe, cloud.distance)
        assert np.array_equal(own.points, cloud.points)
    assert grid.chance == chance_distance(DATASETS[name](), 60)
    assert grid.noise == energy_distance(latents(0, 60), DATASETS[name]())


def test_the_table_is_bold_within_chance_and_fits_80_columns() -> None:
    grid = toy_grid("two_moons", 0)
    grid = replace(
        grid, chance=sorted(cloud.distance for cloud in grid.clouds)[2]
    )  # the third smallest: three cells
    table = distances_table(grid)
    cells = [cell for column in table.columns[1:] for cell in column.cells]
    assert sum(getattr(cell, "style", "") == "bold" for cell in cells) == 3
    written = io.StringIO()
    Console(file=written, width=80).print(headline(grid), table)
    assert len(written.getvalue().splitlines()) == 1 + 1 + len(SAMPLERS)  # headline, headings, rows


def test_the_commands_choices_are_the_engines_data_sets() -> None:
    assert [*DATASETS, "both"] == list(get_args(get_type_hints(command)["data"]))
    assert list(TITLES) == list(DATASETS)


# The picture.


@pytest.mark.parametrize("count", [1, 2])
def test_every_panel_has_its_evaluations_and_distance_over_it(count: int) -> None:
    grids = [toy_grid(name, 0) for name in list(DATASETS)[:count]]
    with styled():
        drawing = plot_toy(grids)
    found = {(axes.get_title(loc="left"), axes.get_title(loc="right")) for axes in drawing.figure.axes}
    assert len(drawing.figure.axes) == count * 8
    assert found == {(f"NFE {one.nfe}", rounded(one.distance)) for grid in grids for one in grid.clouds}
    words = {text.get_text() for text in drawing.figure.texts}
    assert {*SAMPLERS, "K = 5", "K = 10", *(grid.title for grid in grids)} <= words


def test_no_words_overlap_or_leave_the_picture() -> None:
    grids = [toy_grid(name, 0) for name in DATASETS]
    with styled():
        figure = plot_toy(grids).figure
        figure.canvas.draw()
        panes = [axes.get_window_extent() for axes in figure.axes]
        boxes = [text.get_window_extent() for text in figure.texts]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in [*panes, *boxes[number + 1 :]])


@pytest.mark.parametrize(("value", "words"), [(0.00012, "0.00012"), (9.7e-5, "0.0001"), (8.7e-5, "0.00009")])
def test_distances_have_two_digits_and_at_most_five_decimals(value: float, words: str) -> None:
    assert rounded(value) == words


def test_points_of_every_cloud_are_inside_their_panel() -> None:
    far = toy_grid("two_moons", 0)
    far = replace(far, clouds=[replace(cloud, points=3 * cloud.points) for cloud in far.clouds])
    reach = max(np.abs(cloud.points).max() for cloud in far.clouds)
    with styled():
        limits = {axes.get_xlim() + axes.get_ylim() for axes in plot_toy([far]).figure.axes}
    assert len(limits) == 1
    low, high, *_ = limits.pop()
    assert low < -reach < reach < high


# The command.


@pytest.mark.parametrize(("data", "width"), [("two_moons", 1), ("both", 2)])
def test_it_prints_tables_and_writes_the_picture_beside_you(orch: Any, data: str, width: int) -> None:
    code, out, err = orch("toy", "--data", data)
    assert (code, err) == (0, "")
    assert out.count("energy distance") == width
    assert f"picture: toy_{data}.png" in out
    assert "next: orch plan grids/objectives.yaml" in out
    with Image.open(f"toy_{data}.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_json_holds_the_distances_and_draws_only_when_asked(orch: Any) -> None:
    code, out, _ = orch("toy", "--json", "--seed", "3")
    assert code == 0
    assert json.loads(out) == {"seed": 3, "grids": [distances(toy_grid(name, 3)) for name in DATASETS]}
    assert not list(Path.cwd().iterdir())
    code, out, err = orch("toy", "--json", "--data", "eight_gaussians", "--out", "here.png")
    assert [grid["data"] for grid in json.loads(out)["grids"]] == ["Eight Gaussians"]
    assert err.startswith("picture: here.png")
    assert Path("here.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "three_moons"], "'three_moons' is not one of"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--out", "picture.pdf"], "the picture is a PNG"),
        (["--out", "nowhere/picture.png"], "there is no folder nowhere"),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(orch: Any, arguments: list[str], words: str) -> None:
    code, out, err = orch("toy", *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_help_shows_an_example(orch: Any) -> None:
    code, out, _ = orch("toy", "--help")
    assert code == 0
    assert "Example: orch toy" in out


@pytest.mark.slow
def test_the_same_seed_is_the_same_picture_and_another_is_not() -> None:
    def picture(seed: int) -> bytes:
        with styled():
            return to_png(plot_toy([toy_grid("two_moons", seed)]))

    assert picture(0) == picture(0)
    assert picture(0) != picture(1)
