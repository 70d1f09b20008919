"""What likelihoods and the loss gap cost in the plan is what they really evaluate."""

from pathlib import Path

import pytest

from engine.build import build_denoiser, build_network
from engine.config.experiment import Experiment, Likelihood, LossGap
from engine.data.datasets import ImageSet, load_images
from engine.evaluation.measured_cell import MeasuredCell, ask
from engine.evaluation.snapshot_cache import Snapshot
from engine.files import LocalFiles
from engine.metrics.registry import METRICS
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun
from orchestrator.grid.recipe import PACKAGED, read_recipe
from orchestrator.planning.likelihood_cost import GRADIENT, bound_evaluations, shared_model_evaluations

RECIPE = read_recipe(PACKAGED / "recipes" / "edm_digits.yaml")
LIKELIHOOD = Likelihood(num_images=5, ode_steps=4)
GAP = LossGap(num_levels=3, num_draws=6)


def experiment(sampler: SamplerBase, **protocol: object) -> Experiment:
    tiny = RECIPE.model.model_copy(update={"channels": 8})
    rules = RECIPE.eval.model_copy(update={"batch_size": 4, **protocol})
    return RECIPE.model_copy(update={"model": tiny, "sample": sampler, "eval": rules})


def counted(one: Experiment, root: Path) -> int:
    """Images times evaluations, padding included, that the network really did."""
    denoiser = build_denoiser(one, build_network(one)).eval().requires_grad_(False)
    digits = load_images("digits", None)
    few = ImageSet.of(digits.images[:16], digits.labels[:16])
    cell = MeasuredCell(Snapshot(one, denoiser, LocalFiles(root), 0), lambda split: few, LocalFiles(root))
    return sum(ask([kind for kind in METRICS.values() if not kind.needs_images], cell).evaluations.values())


@pytest.mark.parametrize("sampler", [Ddpm(num_steps=4), Ddpm(num_steps=3, covariance="beta")])
def test_a_bound_costs_what_it_evaluates(sampler: Ddpm, tmp_path: Path) -> None:
    one = experiment(sampler, likelihood=LIKELIHOOD)
    assert bound_evaluations([sampler], one.eval) == counted(one, tmp_path) == 8 * sampler.nfe


def test_ode_likelihood_cost_includes_gradients_and_is_shared_by_cells(tmp_path: Path) -> None:
    samplers = [Heun(num_steps=3), Ddim(num_steps=4)]
    one = experiment(samplers[0], likelihood=LIKELIHOOD)
    assert shared_model_evaluations(samplers, one.eval) == GRADIENT * counted(one, tmp_path)


def test_the_gap_costs_its_levels_and_draws(tmp_path: Path) -> None:
    one = experiment(Heun(num_steps=3), loss_gap=GAP)
    assert shared_model_evaluations([one.sample], one.eval) == counted(one, tmp_path) == 3 * 8


def test_samplers_that_draw_noise_or_are_guided_have_no_likelihood() -> None:
    samplers = [EdmStochastic(num_steps=3, s_churn=1.0), Heun(num_steps=3, guidance=2.0)]
    protocol = experiment(samplers[0], likelihood=LIKELIHOOD).eval
    assert bound_evaluations([Ddpm(num_steps=4, guidance=2.0)], protocol) == 0
    assert shared_model_evaluations(samplers, protocol) == 0
