"""A network's loss beside the optimum: known gaps, and the weights that training gives."""

import json

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from engine.denoiser import Denoiser, columns
from engine.evaluation.oracle import EmpiricalOracle
from engine.metrics.diagnosis import Diagnosis, diagnose, log_levels, quantile_levels, weights
from engine.metrics.optimal_loss import mean_and_stderr, optimal_loss
from engine.metrics.posterior import draw, posterior
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.losses.batch import Noised
from engine.objectives.registry import Objective
from engine.objectives.regression import RegressionObjective
from engine.objectives.simple import SimpleObjective
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, EdmProcess
from engine.process.weighting import SnrWeight

DESIGN = EdmObjective().design
SIGMAS = (0.05, 0.3, 0.8, 2.0, 10.0)


class Constant(nn.Module):
    """A network that answers the same number for every pixel."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        return torch.full_like(x, self.value)


def shrinking(x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
    """The best denoiser of Gaussian data of standard deviation 0.5."""
    return columns(0.25 / (0.25 + sigma**2), x) * x


def images(count: int = 60) -> Tensor:
    """Pictures [N, 1, 2, 2] in [-1, 1]."""
    return torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def test_the_optimum_itself_has_no_gap() -> None:
    oracle = EmpiricalOracle(images())

    def best(x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        return oracle.denoise(x, float(sigma[0]))

    found = diagnose(best, DESIGN, images(), None, SIGMAS, num_draws=100, seed=0)
    # x0_hat and D* differ by rounding of logits of some 1 / sigma^2 = 400: by 400 * 2^-52 = 1e-13, squared.
    assert max(found.gap) < 1e-25
    assert found.model_loss == pytest.approx(found.optimal_loss, rel=1e-12, abs=1e-25)


def test_a_denoiser_of_gaussian_data_has_the_gap_of_its_closed_form() -> None:
    # Any linear denoiser k x has the loss (1 - k)^2 E x0^2 + k^2 sigma^2. EDM's preconditioning with a
    # network that answers 0 is one, k = 1 / (1 + (sigma / 0.5)^2). The optimum comes from many more,
    # independent draws.
    denoiser = Denoiser(Constant(0.0), Preconditioning(EdmProcess(), "F"))
    found = diagnose(denoiser, DESIGN, images(), None, SIGMAS, num_draws=500, seed=0)
    optima = optimal_loss(images(), SIGMAS, num_draws=4000, seed=1)
    for sigma, gap, stderr, optimum in zip(SIGMAS, found.gap, found.gap_stderr, optima, strict=True):
        k = 0.25 / (0.25 + sigma**2)
        loss = (1 - k) ** 2 * float(images().square().mean()) + k**2 * sigma**2
        assert abs(gap - (loss - optimum.value)) < 4 * (stderr**2 + optimum.stderr**2) ** 0.5


def test_gap_is_the_paired_difference_of_the_losses_with_less_noise() -> None:
    points, count = images(), 1000
    found = diagnose(shrinking, DESIGN, points, None, SIGMAS, num_draws=count, seed=0)
    for level, sigma in enumerate(SIGMAS):
        draws = draw(points, sigma, 0, level, torch.arange(count))
        model = (shrinking(draws.x, torch.full((count,), sigma), None) - draws.x0).square().mean(dim=1)
        best = (posterior(draws, points).mean - draws.x0).square().mean(dim=1)
        mean, stderr = mean_and_stderr(model - best)
        assert abs(found.gap[level] - mean) < 4 * stderr
        assert found.gap_stderr[level] <= stderr * 1.1  # both are estimates, to 3% each
        assert found.model_loss[level] - found.optimal_loss[level] == pytest.approx(
            found.gap[level], rel=1e-9
        )
        assert found.gap[level] > 0


def test_the_denoiser_sees_batches_of_one_shape_and_their_number_changes_nothing() -> None:
    shapes = set()

    def recorded(x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        shapes.add((tuple(x.shape), tuple(sigma.shape)))
        return shrinking(x, sigma, label)

    small, large = (
        diagnose(recorded, DESIGN, images(), None, SIGMAS, num_draws=45, seed=0, batch_size=size)
        for size in (7, 50)
    )
    assert shapes == {((7, 1, 2, 2), (7,)), ((50, 1, 2, 2), (50,))}
    assert small.gap == pytest.approx(large.gap, rel=1e-12)


def test_a_conditional_network_is_told_the_class_and_compared_with_its_optimum() -> None:
    points, labels = images(60), torch.arange(60) % 4
    oracles = [EmpiricalOracle(points[labels == label]) for label in range(4)]

    def best(x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None
        rows = zip(x, label.tolist(), strict=True)
        return torch.cat([oracles[own].denoise(row[None], float(sigma[0])) for row, own in rows])

    conditional = diagnose(best, DESIGN, points, labels, (0.5,), num_draws=100, seed=0)
    unconditional = diagnose(shrinking, DESIGN, points, None, (0.5,), num_draws=100, seed=0)
    assert conditional.gap[0] < 1e-25
    assert conditional.optimal_loss[0] < unconditional.optimal_loss[0]


@pytest.mark.parametrize(
    "objective",
    [
        EdmObjective(),
        SimpleObjective(),
        FlowObjective(path="vp"),
        RegressionObjective(process=DiscreteProcess(zero_terminal_snr=True), weighting=SnrWeight(gamma=0.5)),
    ],
    ids=lambda objective: objective.kind,
)
def test_weighted_model_loss_is_the_training_loss(objective: Objective) -> None:
    design, points = objective.design, images()
    sigmas = quantile_levels(design, 4)
    denoiser = Denoiser(Constant(0.3), Preconditioning(design.process, design.target, design.sigma_data))
    for level, (sigma, weight) in enumerate(zip(sigmas, weights(design, sigmas), strict=True)):
        draws = draw(points, sigma, 0, level, torch.arange(20))
        x0 = draws.x0.reshape(-1, 1, 2, 2)
        eps = (draws.x - draws.x0).reshape(x0.shape) / sigma
        level_of_each = torch.full((20,), sigma, dtype=torch.float64)
        trained = objective.losses(denoiser, Noised(x0, eps, level_of_each))["loss"]
        pixels = x0[0].numel() if design.pixels == "sum" else 1
        errors = (denoiser(x0 + sigma * eps, sigma) - x0).square().flatten(1).mean(dim=1)
        # The network's answer is float32, its error at most that of a target of size sigma relative to x0's.
        assert torch.allclose(trained / pixels, weight * errors, rtol=1e-5)


def test_excess_is_the_mean_weighted_gap_and_its_error() -> None:
    found = Diagnosis((1.0, 2.0), (3.0, 4.0), (1.0, 3.5), (2.0, 0.5), (0.3, 0.4), (1.0, 2.0), 10)
    assert found.excess == pytest.approx((1 * 2.0 + 2 * 0.5) / 2)
    assert found.excess_stderr == pytest.approx((0.3**2 + (2 * 0.4) ** 2) ** 0.5 / 2)


def test_a_diagnosis_survives_json() -> None:
    found = diagnose(shrinking, DESIGN, images(), None, SIGMAS, num_draws=20, seed=0)
    assert Diagnosis.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert set(found.to_json()) >= {"sigmas", "model_loss", "optimal_loss", "gap", "gap_stderr", "weight"}


def test_quantile_levels_are_medians_of_equal_slices() -> None:
    levels = quantile_levels(DESIGN, 5)
    expected = torch.tensor(norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9], loc=-1.2, scale=1.2)).exp()
    assert levels == pytest.approx(expected.tolist(), rel=1e-9)
    chain = SimpleObjective(num_timesteps=100).design
    assert isinstance(chain.process, DiscreteProcess)
    assert quantile_levels(chain, 100) == pytest.approx(chain.process.sigmas)


def test_log_levels_span_the_process_within_edm_bounds() -> None:
    assert log_levels(DESIGN, 3) == pytest.approx([0.002, (0.002 * 80) ** 0.5, 80.0])
    flow = log_levels(FlowObjective().design, 2)
    assert flow == pytest.approx([0.002, 80.0])
    chain = SimpleObjective().design.process
    assert isinstance(chain, DiscreteProcess)
    assert log_levels(SimpleObjective().design, 2) == pytest.approx([chain.sigmas[0], 80.0])


def test_one_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="2 draws"):
        diagnose(shrinking, DESIGN, images(), None, (1.0,), num_draws=1, seed=0)
