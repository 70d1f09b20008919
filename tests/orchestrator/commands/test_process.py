"""`orch process`: the numbers of an objective over the noise level, the table and the picture."""

import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from engine.config.experiment import Experiment
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.registry import Objective
from engine.objectives.regression import RegressionObjective
from engine.objectives.simple import SimpleObjective
from engine.objectives.vlb import VlbObjective
from engine.process.processes import DiscreteProcess, VeProcess, VpProcess
from engine.process.training_schedule import LossGapSchedule
from engine.process.weighting import ClippedSnrWeight, MinSnrWeight, P2Weight
from engine.records.curves import DesignCurves
from engine.samplers.ddim import Ddim
from engine.samplers.heun import Heun
from engine.samplers.registry import SAMPLERS
from orchestrator.console.process_view import (
    DRAWS,
    density_of,
    design_curves,
    levels_table,
    sampler_levels,
    short,
)
from orchestrator.grid.recipe import PACKAGED, read_recipe, recipe_names
from reports.figures.process import plot_process
from reports.figures.style import styled, to_png

pytestmark = pytest.mark.slow

EDM_DIGITS = read_recipe(PACKAGED / "recipes" / "edm_digits.yaml")
ZERO_SNR = DiscreteProcess(schedule="cosine", zero_terminal_snr=True)
OBJECTIVES: list[Objective] = [
    EdmObjective(),
    SimpleObjective(),
    SimpleObjective(schedule="cosine", num_timesteps=4000),
    HybridObjective(),
    VlbObjective(),
    FlowObjective(),
    FlowObjective(path="vp"),
    RegressionObjective(process=ZERO_SNR, weighting=MinSnrWeight()),
    RegressionObjective(process=VeProcess(), target="score", weighting=P2Weight()),
    RegressionObjective(process=VpProcess(), target="x0", weighting=ClippedSnrWeight()),
]


def curves_of(objective: Objective) -> DesignCurves:
    return design_curves(EDM_DIGITS.model_copy(update={"objective": objective}), "test")


# The numbers.


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_every_objective_has_finite_curves_of_one_length_and_area_one(objective: Objective) -> None:
    curves = curves_of(objective)
    ln_sigma = np.log(curves.sigma)
    assert np.allclose(np.diff(ln_sigma), ln_sigma[1] - ln_sigma[0], rtol=1e-6)
    columns = (curves.time, curves.density, curves.weight_x0, curves.weight_target, curves.target_share)
    columns += (curves.loss_share, curves.c_skip, curves.c_out, curves.c_in, curves.c_noise)
    for column in columns:
        assert len(column) == len(curves.sigma)
        assert all(map(math.isfinite, column))
    for share in (curves.target_share, curves.loss_share):
        assert min(share) >= 0
        assert np.trapezoid(share, ln_sigma) == pytest.approx(1, rel=1e-12)
    # The axis leaves out 0.2 % of the draws at either end, and half a window beyond it counts as before it.
    assert 0.97 < np.trapezoid(curves.density, ln_sigma) < 1.01


def test_edms_curves_are_their_closed_forms() -> None:
    curves, sigma = curves_of(EdmObjective()), np.array(curves_of(EdmObjective()).sigma)
    normal = np.exp(-0.5 * ((np.log(sigma) + 1.2) / 1.2) ** 2) / (1.2 * math.sqrt(2 * math.pi))
    # The mean over a window of +-0.1 is off by its square / 6 times the second derivative, at most 0.33 /
    # 1.44; the slices that the draws stand for are 1 / 40,000 wide, over a window of 0.2.
    assert np.abs(np.array(curves.density) - normal).max() < 0.1**2 / 6 * 0.33 / 1.44 + 2 / DRAWS / 0.2
    assert np.allclose(curves.weight_x0, sigma**-2 + 4, rtol=1e-12)
    assert np.allclose(curves.weight_target, 1, rtol=1e-12)
    # With fitting sigma_data the exact loss is 1 at every level: the loss is shared out as the images are.
    assert np.allclose(curves.loss_share, curves.target_share, rtol=1e-12)


def test_the_density_of_a_chain_is_that_of_its_timesteps() -> None:
    curves = curves_of(SimpleObjective())
    table = np.log(DiscreteProcess().sigmas)
    for ln_sigma in np.log([0.1, 1.0, 10.0]):
        timesteps = ((table > ln_sigma - 0.1) & (table < ln_sigma + 0.1)).sum() / 1000
        found = np.interp(ln_sigma, np.log(curves.sigma), curves.density)
        assert found == pytest.approx(
            timesteps / 0.2, abs=1.1 / 1000 / 0.2
        )  # a timestep more or less in the window


def test_the_density_outside_all_draws_is_zero_and_of_a_flat_one_flat() -> None:
    drawn = (np.arange(1000) + 0.5) / 1000
    assert density_of(drawn, np.array([-0.2, 0.3, 0.999, 1.2])).tolist() == pytest.approx(
        [0, 1, 1, 0], rel=1e-9
    )


def test_the_bounds_share_is_an_snr_over_ln_sigma_whatever_the_draws() -> None:
    curves = curves_of(VlbObjective())
    inside = np.array(curves.density) > 0
    share, sigma = np.array(curves.target_share)[inside], np.array(curves.sigma)[inside]
    # For the error of eps that is 1, so over ln sigma the bound weighs all errors of the noise alike.
    assert np.allclose(share, share[0], rtol=1e-9)
    assert np.allclose(
        np.array(curves.weight_x0)[inside] * sigma**2, np.array(curves.weight_target)[inside], rtol=1e-9
    )


def test_flow_matching_has_its_own_time_and_coefficients() -> None:
    curves = curves_of(FlowObjective())
    time = np.array(curves.sigma) / (1 + np.array(curves.sigma))
    assert np.allclose(curves.c_skip, 1 - time, rtol=1e-9)
    assert np.allclose(curves.c_out, -time, rtol=1e-9)
    # Read off a line through 40,000 points of the path: their distance squared is far below this.
    assert np.allclose(curves.time, time, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_samplers_noise_levels_are_those_it_asks_for(kind: str) -> None:
    levels = sampler_levels(SAMPLERS[kind](num_steps=5))
    assert 4 <= len(levels) <= 20
    assert all(before < after for before, after in itertools.pairwise(levels))


def test_noise_levels_of_heun_and_ddim_are_their_own() -> None:
    assert sampler_levels(Heun(num_steps=18)) == pytest.approx(sorted(Heun(num_steps=18).sigmas)[1:])
    ddim = Ddim(num_steps=4)
    assert sampler_levels(ddim) == pytest.approx([DiscreteProcess().sigmas[t] for t in ddim.timesteps])


# The table.


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_the_table_is_whole_in_80_columns(objective: Objective) -> None:
    written = io.StringIO()
    Console(file=written, width=80).print(levels_table(curves_of(objective), objective.design.process))
    lines = written.getvalue().splitlines()
    assert len(lines) == 2 + 8  # headings and levels, none of them broken
    assert "…" not in written.getvalue()


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (-0.0, "0"), (-0.04123, "-0.0412"), (1080.4, "1080"), (12345, "1.2e4"), (-1e-6, "-1.0e-6")],
)
def test_short_numbers_have_three_digits_or_two_and_an_exponent(value: float, words: str) -> None:
    assert short(value) == words


def test_words_say_what_the_curves_leave_out() -> None:
    hybrid, bound, edm = (curves_of(one).words for one in (HybridObjective(), VlbObjective(), EdmObjective()))
    assert "L_simple, shown, + 0.001 L_vlb for the variance" in hybrid
    assert "loss_second_moment, shown as at the start" in bound
    gap = curves_of(EdmObjective(training_schedule=LossGapSchedule()))
    assert gap.words == f"{edm}  ·  shown without its training schedule loss_gap"
    assert gap.density == curves_of(EdmObjective()).density
    assert ("σ_data" in edm, "σ_data" in hybrid) == (True, False)  # only F's preconditioning has it


# The picture.


def test_words_name_the_conventions_of_a_chain() -> None:
    told = curves_of(VlbObjective(time_scale="shifted", warmup_kimg=2)).words
    assert "timesteps told as shifted" in told
    assert "objective vlb after 2 kimg of L_simple alone" in told
    assert "timesteps told as thousand" in curves_of(SimpleObjective()).words


@pytest.mark.parametrize("objective", [OBJECTIVES[index] for index in (0, 4, 7)], ids=repr)
def test_the_picture_has_six_panels_on_white_and_one_axis_of_noise_levels(objective: Objective) -> None:
    with styled():
        drawing = plot_process(curves_of(objective))
        panes = drawing.figure.axes
        image = Image.open(io.BytesIO(to_png(drawing)))
    assert len(panes) == 6
    assert len({pane.get_xlim() for pane in panes[1:]}) == 1
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_every_line_is_named_beside_it() -> None:
    with styled():
        panes = plot_process(curves_of(SimpleObjective())).figure.axes
    assert {text.get_text() for text in panes[3].texts} == {"x̂₀", "target"}
    assert {text.get_text() for text in panes[4].texts} == {"c_skip", "−c_out", "c_in"}


def test_a_coefficient_that_is_zero_is_said_and_not_drawn() -> None:
    with styled():
        pane = plot_process(curves_of(OBJECTIVES[-1])).figure.axes[4]
    assert "c_skip = 0" in {text.get_text() for text in pane.texts}


# The command.


def test_it_prints_a_table_and_writes_the_picture_beside_you(orch: Any) -> None:
    code, out, err = orch("process", "edm_digits")
    assert (code, err) == (0, "")
    assert "objective edm  ·  process edm  ·  target F" in out
    assert all(heading in out for heading in ("SNR", "c_skip", "c_noise", "weight", "shown", "loss"))
    assert out.endswith("picture: process_edm_digits.png\n")
    with Image.open("process_edm_digits.png") as image:
        assert image.size == (2320, 1340)


def test_json_holds_the_same_numbers_and_draws_only_when_asked(orch: Any) -> None:
    code, out, _ = orch("process", "edm_digits", "--json")
    assert code == 0
    assert json.loads(out)["c_out"] == design_curves(EDM_DIGITS, "edm_digits").c_out
    assert not list(Path.cwd().iterdir())
    code, out, err = orch("process", "edm_digits", "--json", "--out", "here.png")
    assert json.loads(out)["title"] == "edm_digits"
    assert err == "picture: here.png\n"
    assert Path("here.png").is_file()


def test_a_recipes_file_and_a_grids_anchor_are_taken_too(orch: Any) -> None:
    recipe = PACKAGED / "recipes" / "edm_digits.yaml"
    code, out, _ = orch("process", str(recipe), "--json")
    assert (code, json.loads(out)["title"]) == (0, "edm_digits")
    code, out, _ = orch("process", str(PACKAGED / "quickstart.yaml"), "--json")
    assert (code, json.loads(out)["title"]) == (0, "quickstart")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edm_digit"], 'no recipe "edm_digit"; allowed: '),
        (["edm_digit"], 'did you mean "edm_digits"?'),
        (["missing.yaml"], "missing.yaml: no such file"),
        (["edm_digits", "--out", "picture.pdf"], "the picture is a PNG"),
        (["edm_digits", "--out", "nowhere/picture.png"], "there is no folder nowhere"),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(orch: Any, arguments: list[str], words: str) -> None:
    code, out, err = orch("process", *arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("name", recipe_names(PACKAGED))
def test_every_packaged_recipe_has_curves(name: str) -> None:
    recipe: Experiment = read_recipe(PACKAGED / "recipes" / f"{name}.yaml")
    assert design_curves(recipe, name).words.startswith("objective ")


def test_help_shows_an_example(orch: Any) -> None:
    code, out, _ = orch("process", "--help")
    assert code == 0
    assert "Example: orch process" in out
