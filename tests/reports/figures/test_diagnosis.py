"""The picture of a diagnosis: what its panels hold, and that its area is the loss above the optimum."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engine.records.curves import DiagnosisCurves
from reports.figures.diagnosis import middle_half, plot_diagnosis, total_lost
from reports.figures.style import styled, to_png

SIGMA = np.geomspace(0.01, 100, 401)
BUMP = np.exp(-0.5 * np.log(SIGMA) ** 2)
"""An unnormalised normal density of ln sigma around sigma = 1."""


def curves(**changes):
    optimal = SIGMA**2 / (1 + SIGMA**2)
    made = DiagnosisCurves(
        title="digits",
        words="1,000 images.",
        sigma=SIGMA.tolist(),
        model_loss=(optimal + 0.1 * BUMP).tolist(),
        optimal_loss=optimal.tolist(),
        gap=(0.1 * BUMP).tolist(),
        gap_stderr=(0.01 * BUMP).tolist(),
        weight=[2.0] * len(SIGMA),
    )
    return replace(made, **changes)


def test_the_area_is_the_integral_of_the_weighted_gap_over_ln_sigma():
    # 2 * 0.1 * sqrt(2 pi); the cut tails, beyond 4.6 standard deviations, hold 4e-6 of it, and the trapezoid
    # rule is off by less than that on a smooth curve whose ends are flat.
    assert total_lost(curves()) == pytest.approx(0.2 * np.sqrt(2 * np.pi), rel=1e-5)


def test_the_middle_half_ends_at_the_quartiles():
    # Quartiles of a normal density: 0.67449 standard deviations. The share is interpolated between points
    # 0.023 apart in ln sigma, which moves a quartile by less than an eighth of the square of that.
    low, high = middle_half(curves())
    assert np.log([low, high]) == pytest.approx([-0.67449, 0.67449], abs=0.023**2 / 8 + 1e-5)


def test_nothing_lost_has_no_middle_half_and_is_still_drawn():
    nothing = curves(gap=[0.0] * len(SIGMA), model_loss=curves().optimal_loss)
    assert middle_half(nothing) is None
    with styled():
        assert "middle half" not in plot_diagnosis(nothing).caption


def test_both_panels_hold_the_numbers_and_the_caption_says_them():
    with styled():
        drawing = plot_diagnosis(curves())
        with Image.open(io.BytesIO(to_png(drawing))) as image:
            assert image.width == 1920  # 9.6 inches at twice 100 pixels an inch
    left, right = drawing.figure.axes
    assert np.array_equal(left.get_lines()[0].get_ydata(), curves().model_loss)
    assert np.array_equal(right.get_lines()[0].get_ydata(), 2 * np.array(curves().gap))
    assert drawing.caption == (
        "1,000 images. Area: training loss above its optimum, 0.501; grey: "
        "its middle half, σ = 0.509 to 1.96. Band: ±2 standard errors."
    )


def test_an_optimum_that_falls_to_zero_does_not_stretch_the_axis():
    vanishing = np.where(SIGMA < 0.1, 0.0, curves().optimal_loss)
    with styled():
        left, _ = plot_diagnosis(curves(optimal_loss=vanishing.tolist())).figure.axes
    lowest = min(curves().model_loss)
    assert left.get_ylim()[0] > 1e-3 * lowest
    assert np.isnan(left.get_lines()[1].get_ydata()[0])
