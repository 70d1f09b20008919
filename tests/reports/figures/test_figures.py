"""Figures: when they apply, what they draw, and that labels never touch."""

import io
import itertools
import math

import pytest
from PIL import Image

from reports.figures import churn, heat_map, nfe_quality, same_latents, training_curves
from reports.figures.registry import FIGURES
from reports.figures.style import PALETTE, colours, spread, styled, to_png
from reports.read.grouping import overview

pytestmark = pytest.mark.slow

APPLIES = {
    "scale_quality": (True, False, False, True),
    "scaling_law": (False, False, False, True),
    "flops_quality": (True, False, False, True),
    "nfe_quality": (True, False, True, False),
    "churn": (False, True, False, False),
    "heat_map": (False, False, False, False),  # two levels of S_noise are a line, not a map
    "same_latents": (False, False, True, False),
    "training_curves": (True, True, True, True),
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_each_figure_is_drawn_exactly_where_it_applies(
    name, scale_sweep, churn_sweep, latents_sweep, size_sweep
):
    with styled():
        folders = (scale_sweep, churn_sweep, latents_sweep, size_sweep)
        drawings = [FIGURES[name].plot(overview(folder.read())) for folder in folders]
        assert tuple(drawing is not None for drawing in drawings) == APPLIES[name]
        for drawing in filter(None, drawings):
            with Image.open(io.BytesIO(to_png(drawing))) as image:
                assert image.width == 1520  # 7.6 inches at twice 100 pixels an inch
                assert "Software" not in image.info
            assert drawing.caption


def test_heat_map_has_the_best_of_each_pair_and_rings_the_lowest(write, make_cell):
    def distance(amount, noise, low):
        return 3 + abs(amount - 20) / 10 + abs(noise - 1.01) * 100 + low

    kind = {"kind": "edm_stochastic", "num_steps": 18}
    cells = []
    for amount, noise, low in itertools.product((10.0, 20.0, 30.0), (1.0, 1.01, 1.02), (0.0, 0.5)):
        axes = {"sample.s_churn": amount, "sample.s_noise": noise, "sample.s_tmin": low}
        sampler = {**kind, "s_churn": amount, "s_noise": noise, "s_tmin": low}
        cells.append(make_cell(axes, sampler, distance(amount, noise, low)))
    seen = overview(write(cells).read())
    best = heat_map.best_at(seen, "sample.s_noise", "sample.s_churn")
    assert best.tolist() == [
        [distance(amount, noise, 0) for noise in (1.0, 1.01, 1.02)] for amount in (10, 20, 30)
    ]
    with styled():
        figure = heat_map.plot(seen).figure
    (ring, _) = figure.axes[0].get_lines()
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (1, 1)
    assert figure.axes[0].get_xlabel() == "S_noise"


def test_same_latents_shows_the_first_images_of_the_best_training_cheapest_first(latents_sweep):
    with styled():
        drawing = same_latents.plot(overview(latents_sweep.read()))
    assert "Training: C = 32" in drawing.caption
    assert [axes.get_title() for axes in drawing.figure.axes[:2]] == ["Euler", "Heun"]
    strips = [axes.get_images()[0].get_array() for axes in drawing.figure.axes]
    assert all(strip.shape == (32, 6 * 33 - 1) for strip in strips)
    corners = [round(float(strip[0, 0]) * 255) for strip in strips]
    assert corners == [0, 80, 40, 120]  # Euler 9, Heun 5; Euler 35, Heun 18
    assert [axes.texts[0].get_text() for axes in drawing.figure.axes] == ["9", "9", "35", "35"]


def test_every_training_is_named_beside_its_line(scale_sweep):
    with styled():
        figure = nfe_quality.plot(overview(scale_sweep.read())).figure
    assert {"C = 16", "C = 32"} <= {text.get_text() for text in figure.axes[0].texts}


def test_lines_hold_the_measured_distances(scale_sweep):
    with styled():
        axes = nfe_quality.plot(overview(scale_sweep.read())).figure.axes[0]
    drawn = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.lines]
    assert [(17, 8.5), (35, 8.0), (79, 7.75)] in drawn  # Heun at C = 16
    assert [(35, 6.5)] in drawn  # EDM stochastic at C = 32


def test_collapsed_points_take_the_value_of_the_cell_they_are(churn_sweep):
    with styled():
        axes = churn.plot(overview(churn_sweep.read())).figure.axes[0]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert ([0.0, 10.0, 20.0], [4.0, 3.5, 3.8]) in drawn  # S_noise = 1
    assert (
        [0.0, 10.0, 20.0],
        [4.0, 3.0, 4.2],
    ) in drawn  # S_noise = 1.007: its point at 0 has no cell of its own


def test_the_reported_snapshot_is_ringed(scale_sweep):
    with styled():
        axes = training_curves.plot(overview(scale_sweep.read())).figure.axes[1]
    rings = [
        (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if line.get_marker() == "o"
    ]
    assert ([96.0], [4.0]) in rings


def test_diverged_cells_do_not_stop_the_figures(write, make_cell):
    heun = [{"kind": "heun", "num_steps": n} for n in (9, 18)]
    cells = [
        make_cell({"model.channels": c}, s, math.nan if c == 16 else 4.0) for c in (16, 32) for s in heun
    ]
    seen = overview(write(cells).read())
    with styled():
        drawing = FIGURES["nfe_quality"].plot(seen)
        assert to_png(drawing)
        assert FIGURES["scale_quality"].plot(seen) is None  # one size is left
    assert [text.get_text() for text in drawing.figure.axes[0].texts] == ["C = 32"]


def test_a_dollar_in_an_axis_value_is_a_dollar(write, make_cell):
    sizes = {"$\\frac{": 1000, "b$": 2000}
    heun = {"kind": "heun", "num_steps": 9}
    cells = [make_cell({"model.name": name}, heun, 4.0, num_params=size) for name, size in sizes.items()]
    with styled():
        assert to_png(FIGURES["scale_quality"].plot(overview(write(cells).read())))


def test_crowded_labels_are_moved_apart_and_kept_inside():
    places = spread([0.0, 0.01, 0.02, 0.5, 0.99, 1.0], 0.1)
    assert places[3] == 0.5
    assert min(places) >= 0
    assert max(places) <= 1
    # Neighbours are `line` apart up to the rounding of a few float additions.
    assert min(after - before for before, after in itertools.pairwise(places)) == pytest.approx(
        0.1, abs=1e-12
    )


def test_labels_with_room_stay_where_they_are():
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9], abs=1e-12)


def test_many_lines_still_get_different_colours():
    assert colours(3) == list(PALETTE[:3])
    assert len(set(colours(20))) == 20
