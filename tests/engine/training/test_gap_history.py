"""The gap-driven schedule: its weight, its draws by the gaps, and the optimum it needs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.data.datasets import ImageSet
from engine.files import LocalFiles
from engine.metrics.optimal_loss import optimal_loss
from engine.noise import Purpose, normal, uniform
from engine.objectives.design import Design
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.regression import RegressionObjective
from engine.process.noise_levels import LogUniform
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, VeProcess, VpProcess
from engine.process.training_schedule import LossGapSchedule
from engine.process.weighting import MinSnrWeight
from engine.records import paths
from engine.training import optimum as optimum_module
from engine.training.gap_history import TAIL, Bins, GapHistory, Optimum
from engine.training.levels import LevelDrawer
from engine.training.optimum import training_optimum
from engine.training.start import starting_state
from engine.training.step import TrainingStep, World

CPU, ALONE = torch.device("cpu"), World(0, 1)
BINS, DIMS = 6, 64
TARGET_OPTIMUM = torch.tensor([0.0, 0.02, 0.25, 0.5, 0.6, 0.7], dtype=torch.float64)
SCHEDULE = LossGapSchedule(num_bins=BINS, history=4)
OBJECTIVES: list[Any] = [
    EdmObjective(training_schedule=SCHEDULE),
    FlowObjective(training_schedule=SCHEDULE),
    RegressionObjective(process=VpProcess(), weighting=MinSnrWeight(), training_schedule=SCHEDULE),
]
LOG_UNIFORM = RegressionObjective(
    process=VeProcess(),
    target="F",
    noise_levels=LogUniform(sigma_min=0.01, sigma_max=10.0),
    training_schedule=SCHEDULE,
)


def gaussian_optimum(design: Design, data_std: float = 0.5) -> Optimum:
    """Of Gaussian data: the posterior variance s^2 sigma^2 / (s^2 + sigma^2)."""
    sigma, s2 = Bins.of(design, BINS).centres, data_std**2
    return Optimum(tuple((s2 * sigma**2 / (s2 + sigma**2)).tolist()), DIMS)


def rising_optimum(design: Design) -> Optimum:
    """As of a finite set: TARGET_OPTIMUM in the space of the network's target."""
    sigma = Bins.of(design, BINS).centres
    c_out = Preconditioning(design.process, design.target, design.sigma_data)(sigma).c_out
    return Optimum(tuple((TARGET_OPTIMUM * c_out**2).tolist()), DIMS)


def history(objective: Any = LOG_UNIFORM, gaps: Tensor | None = None) -> GapHistory:
    """A history whose rings are full of J* plus these gaps [BINS], spread evenly about their mean."""
    made = GapHistory(objective.design, rising_optimum(objective.design), CPU)
    if gaps is not None:
        spread = torch.tensor([0.5, 1.5, 0.75, 1.25], dtype=torch.float64)
        errors = (made.optimum + gaps)[:, None] * spread
        made.record(torch.arange(BINS).repeat_interleave(4), errors.flatten())
    return made


def even(count: int) -> Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


GAPS = torch.tensor([0.9, 0.3, 0.0, 0.2, -0.1, 0.05], dtype=torch.float64)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_before_its_history_draws_are_the_objectives_own_bit_for_bit(objective: Any) -> None:
    made, u = history(objective), even(500)
    own = objective.design.noise_levels.sigma(u, objective.design.process)
    assert torch.equal(made.draw(u), own)
    short = torch.arange(BINS).repeat_interleave(4)[1:]  # one error of the first bin is missing
    made.record(short, torch.rand(len(short), dtype=torch.float64) + 10)
    assert torch.equal(made.draw(u), own)
    made.record(torch.tensor([0]), torch.tensor([10.0]))
    assert not torch.equal(made.draw(u), own)


def test_draws_have_the_weighted_gaps_as_density_and_the_objectives_own_for_its_share() -> None:
    """At even points the share of draws in a bin is its
    probability, to one point for each of its two ends."""
    made, count = history(gaps=GAPS), 60_000
    weight = made.target_weight(made.centres)
    expected = weight * GAPS.clamp(min=0)
    expected = 0.9 * expected / expected.sum()
    expected += (
        0.1 * (1 - 2 * TAIL) / BINS
    )  # log-uniform draws: equal in all bins, and a TAIL beyond either end
    found = made.bins.index(made.draw(even(count)))
    shares = torch.bincount(found + 1, minlength=BINS + 1) / count
    torch.testing.assert_close(shares[1:].double(), expected, rtol=0, atol=4 / count)
    assert float(shares[0]) == pytest.approx(0.1 * 2 * TAIL, abs=4 / count)


def test_inside_a_bin_draws_are_even_in_ln_sigma() -> None:
    made = history(gaps=torch.eye(BINS, dtype=torch.float64)[2])
    sigma = made.draw(even(1000))[100:]  # the first tenth is the objective's own
    torch.testing.assert_close(made.bins.place(sigma), 2 + even(900), rtol=0, atol=1e-9)


def test_levels_without_a_gap_get_only_the_objectives_share() -> None:
    made = history(gaps=GAPS)
    steered = made.bins.index(made.draw(even(5000))[500:])
    assert set(steered.tolist()) == {0, 1, 3, 5}


@pytest.mark.parametrize("gap", [0.0, -0.01, float("nan"), float("inf")])
def test_without_finite_gaps_levels_come_from_the_objective(gap: float) -> None:
    made, u = history(gaps=GAPS), even(100)
    made.losses.copy_((made.optimum + gap)[:, None].expand(-1, 4))
    assert torch.equal(made.draw(u), LOG_UNIFORM.design.noise_levels.sigma(u, VeProcess()))


# The weight.


def test_the_weight_is_the_papers_at_the_bins_centres() -> None:
    for continuous in (True, False):
        schedule = LossGapSchedule(num_bins=BINS, a=0.2, w_max=3.0, mean=-1.0, std=0.8, continuous=continuous)
        made = history(LOG_UNIFORM.model_copy(update={"training_schedule": schedule}))
        torch.testing.assert_close(made.optimum, TARGET_OPTIMUM)
        for sigma, optimum in zip(made.centres, made.optimum, strict=True):
            normal = torch.distributions.Normal(-1.0, 0.8).log_prob(sigma.log()).exp()
            g = max(0.0, 1 - 3 * float(optimum)) if continuous else float(optimum < 1 / 3)
            expected = 0.2 / max(float(optimum), 1 / 3) + float(normal) * g
            assert float(made.target_weight(sigma[None])) == pytest.approx(expected, rel=1e-6)


def test_the_continuous_weight_has_no_jump_and_the_published_one_has_a_single_one() -> None:
    sigma = torch.linspace(-5, 3, 20_001, dtype=torch.float64).exp()
    jumps = {}
    for continuous in (True, False):
        schedule = LossGapSchedule(num_bins=BINS, history=4, continuous=continuous, w_max=2.5)
        weight = history(LOG_UNIFORM.model_copy(update={"training_schedule": schedule})).target_weight(sigma)
        jumps[continuous] = int(
            (weight.diff().abs() > 0.01).sum()
        )  # a step is 4e-4 in ln sigma, slopes are about 1
    assert jumps == {True: 0, False: 1}


def test_noise_beyond_the_first_level_of_the_ceiling_never_gets_the_low_noise_term() -> None:
    """The optimum of eps falls again at high noise, where 1 / J* is as large as at low noise."""
    schedule = LossGapSchedule(num_bins=BINS, mean=3.0, std=1.0)
    objective = RegressionObjective(process=VeProcess(), target="eps", training_schedule=schedule)
    made = GapHistory(objective.design, gaussian_optimum(objective.design), CPU)
    high = made.centres[-2:]
    assert made.optimum[-1] < 1 / schedule.w_max < made.optimum.max()
    torch.testing.assert_close(made.target_weight(high), schedule.a * (1 / made.optimum[-2:]).clamp(max=3.0))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_steered_draws_weigh_errors_by_the_target_weight(objective: Any) -> None:
    """An error of 1 in every pixel costs `loss_unit`;
    times the draw's weight that is w, over pixels as before."""
    design = objective.design
    drawer = LevelDrawer(design, 100, CPU, gaussian_optimum(design))
    levels = drawer.draw(even(100), torch.arange(100))
    assert isinstance(drawer.history, GapHistory)
    assert levels.bin is not None
    assert levels.loss_unit is not None
    pixels = DIMS if design.pixels == "sum" else 1
    torch.testing.assert_close(
        levels.weight * levels.loss_unit, pixels * drawer.history.target_weight(levels.sigma)
    )
    assert int((levels.bin < 0).sum()) == pytest.approx(100 * 2 * TAIL, abs=1)


def test_a_drawer_without_its_optimum_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the optimal loss of the training images"):
        LevelDrawer(LOG_UNIFORM.design, 8)


def test_timesteps_are_refused() -> None:
    with pytest.raises(ValueError, match="loss_gap draws from a continuous range"):
        RegressionObjective(process=DiscreteProcess(), training_schedule=SCHEDULE)


def test_errors_outside_all_bins_are_not_recorded() -> None:
    made = history()
    made.record(torch.tensor([-1, 2, -1]), torch.tensor([9.0, 0.5, 9.0]))
    assert made.seen.tolist() == [0, 0, 1, 0, 0, 0]
    assert float(made.losses.sum()) == 0.5


# The optimum.


def test_the_table_is_the_optimal_loss_and_is_measured_once(
    digits: ImageSet, tmp_path: Path, short: Any
) -> None:
    experiment, files = short.speck(EdmObjective(training_schedule=SCHEDULE)), LocalFiles(tmp_path)
    few = replace(digits, images=digits.images[:200], labels=digits.labels[:200])
    found = training_optimum(experiment, few, files, ALONE, CPU)
    assert found is not None
    sigmas = Bins.of(experiment.objective.design, BINS).centres.tolist()
    points = few.images.float() / 127.5 - 1
    expected = optimal_loss(points, sigmas, num_draws=1024, seed=experiment.train.seed)
    assert found == Optimum(tuple(level.value for level in expected), 64)
    kept = json.loads((tmp_path / paths.OPTIMUM).read_bytes())
    files.write(paths.OPTIMUM, json.dumps(kept | {"optimal_loss": [0.5] * BINS}).encode())
    assert training_optimum(experiment, few, files, ALONE, CPU) == Optimum((0.5,) * BINS, 64)
    assert training_optimum(short.speck(), few, files, ALONE, CPU) is None


def test_the_table_of_gaussian_data_is_the_closed_form(tmp_path: Path, short: Any) -> None:
    """Points of a 2-pixel Gaussian, quantised finely beside
    the noise, so many that the set is as good as its law.

    The law's variance is (s^2 + 1 / 3 of a byte squared) sigma^2 / (...):
    quantisation adds 2e-5 of s^2. A set of n points has a variance off by sqrt(2
    / 2n), here 1.6 %; the table's own error is 4 standard errors at most.
    """
    n, s = 4000, 0.25
    x = s * normal(0, Purpose.LATENT, torch.arange(n), (1, 1, 2))
    images = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    levels = LogUniform(sigma_min=0.1, sigma_max=10.0)
    objective = RegressionObjective(process=VeProcess(), noise_levels=levels, training_schedule=SCHEDULE)
    experiment = short.speck(objective)
    training_optimum(experiment, ImageSet.of(images, torch.zeros(n)), LocalFiles(tmp_path), ALONE, CPU)
    kept = json.loads((tmp_path / paths.OPTIMUM).read_bytes())
    for sigma, value, stderr in zip(kept["sigma"], kept["optimal_loss"], kept["stderr"], strict=True):
        exact = s**2 * sigma**2 / (s**2 + sigma**2)
        assert abs(value - exact) < 4 * stderr + 3 * 0.016 * exact


def test_mirrored_images_count_and_a_class_is_its_own_set(
    digits: ImageSet, tmp_path: Path, short: Any
) -> None:
    """More points that x may have come from raise the optimum, fewer lower it."""
    few = replace(digits, images=digits.images[:300], labels=digits.labels[:300])
    plain = short.speck(EdmObjective(training_schedule=SCHEDULE))
    flipped = plain.model_copy(update={"data": plain.data.model_copy(update={"x_flip": True})})
    labelled = plain.model_copy(update={"model": plain.model.model_copy(update={"class_conditional": True})})
    tables = []
    for name, experiment in (("plain", plain), ("flipped", flipped), ("labelled", labelled)):
        found = training_optimum(experiment, few, LocalFiles(tmp_path / name), ALONE, CPU)
        assert found is not None
        tables.append(found.x0[4])
    assert tables[2] < 0.9 * tables[0] < 0.9 * tables[1]


def test_a_large_set_is_estimated_from_subsets(
    digits: ImageSet, tmp_path: Path, short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = short.speck(EdmObjective(training_schedule=SCHEDULE))
    few = replace(digits, images=digits.images[:200], labels=digits.labels[:200])
    exact = training_optimum(experiment, few, LocalFiles(tmp_path / "full"), ALONE, CPU)
    monkeypatch.setattr(optimum_module, "LARGEST_SET", 150)
    subsets = training_optimum(experiment, few, LocalFiles(tmp_path / "cdol"), ALONE, CPU)
    points = few.images.float() / 127.5 - 1
    sigmas = Bins.of(experiment.objective.design, BINS).centres.tolist()
    expected = optimal_loss(points, sigmas, num_draws=1024, seed=0, estimator="cdol", subset_size=150)
    assert subsets == Optimum(tuple(level.value for level in expected), 64)
    assert subsets != exact


# Training.


def test_training_records_the_networks_own_error_of_its_target(short: Any) -> None:
    """At the first step F is 0, as the last layer's weights are:
    its error is the mean square of the target itself."""
    schedule = LossGapSchedule(num_bins=2, history=8)
    experiment = short.speck(EdmObjective(training_schedule=schedule, p_std=0.5), microbatch_size=None)
    optimum = training_optimum(experiment, short.digits, LocalFiles(short.root), ALONE, CPU)
    state = starting_state(experiment, LocalFiles(short.root), None, CPU, optimum)
    step = TrainingStep(experiment, short.digits, state, ALONE, CPU)
    terms, levels = step.losses(torch.arange(8))
    assert levels.bin is not None
    errors = terms["loss"].detach().double() / 64  # EDM's loss is the sum over pixels of F's error
    step()
    recorded = state.levels.history.losses.sum(1)
    expected = torch.zeros(2, dtype=torch.float64).index_add_(
        0, levels.bin[levels.bin >= 0], errors[levels.bin >= 0]
    )
    torch.testing.assert_close(recorded, expected, rtol=1e-6, atol=0)


def test_weights_of_the_loss_are_one_function_of_sigma_at_every_step() -> None:
    design = EdmObjective(training_schedule=SCHEDULE).design
    drawer = LevelDrawer(design, 64, CPU, gaussian_optimum(design))
    u = uniform(0, Purpose.NOISE_LEVEL, torch.arange(64))
    assert isinstance(drawer.history, GapHistory)
    before = drawer.history.weight(even(10) * 3)
    drawer.record(torch.arange(BINS).repeat_interleave(4), torch.full((4 * BINS,), 3.0))
    levels = drawer.draw(u, torch.arange(64))
    assert torch.equal(drawer.history.weight(even(10) * 3), before)
    parts = [drawer.draw(u[part], torch.arange(64)[part]) for part in (slice(0, 24), slice(24, 64))]
    assert torch.equal(levels.sigma, torch.cat([part.sigma for part in parts]))
    assert torch.equal(levels.weight, torch.cat([part.weight for part in parts]))
