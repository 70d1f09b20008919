"""Steps that share a network batch get the answers each would get alone, bit for bit."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import Model
from engine.backbones.unet.config import UNet
from engine.batch_shape import repeated
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.objectives.edm import EdmObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.registry import Objective
from engine.process.analytic import AnalyticVariance
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun
from engine.samplers.steps import DenoiseRequest
from engine.sampling.generate import generate, generate_shared
from engine.sampling.prefix_sharing import shared_evaluations
from engine.sampling.step_packing import PackedSteps, steps_per_batch

pytestmark = pytest.mark.slow

BATCH_SIZE, IMAGES, SHAPE = 64, 16, (1, 8, 8)
LEVELS = (80.0, 2.5, 0.3, 0.01)
LABELS = {"class_conditional": True, "label_dropout": 0.1}
UNET = {"channels": 16, "channel_mult": (1, 2), "num_blocks": 1, "attention_resolutions": (4,)}
NETWORKS = [
    DdpmPlusPlus(**UNET, **LABELS),
    NcsnPlusPlus(**UNET, **LABELS),
    Adm(**UNET, **LABELS, head_channels=16),
    UNet(**UNET, **LABELS, num_heads=2),
    Dit(depth=2, width=48, num_heads=3, **LABELS),
    Mlp(width=32, depth=2, **LABELS),
]


def denoiser(model: Model, objective: Objective | None = None) -> Denoiser:
    """A network whose weights are all random, also those that begin at zero."""
    experiment = Experiment(
        data=Data(name="digits"),
        model=model,
        objective=objective or EdmObjective(),
        train=Train(total_kimg=1, snapshot_kimg=1),
        sample=Heun(num_steps=3),
        eval=EvaluationProtocol(num_samples=BATCH_SIZE, batch_size=BATCH_SIZE),
    )
    net = build_network(experiment)
    torch.manual_seed(0)
    for weights in net.parameters():
        weights.data += 0.05 * torch.randn_like(weights)
    return build_denoiser(experiment, net).eval().requires_grad_(False)


def questions(images: int = IMAGES, with_variance: bool = False) -> list[DenoiseRequest]:
    """The same images at four noise levels."""
    noise = normal(0, Purpose.LATENT, torch.arange(images), SHAPE)
    return [DenoiseRequest(0.5 + sigma * noise, sigma, with_variance) for sigma in LEVELS]


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: model.kind)
def test_an_answer_does_not_depend_on_what_else_is_in_the_batch_or_where(model: Model) -> None:
    network = denoiser(model)
    label = torch.arange(BATCH_SIZE) % IMAGES % 10
    asked = questions()
    together = PackedSteps(Guided(network, label, 2.0), BATCH_SIZE)(asked)
    for ask, posterior in zip(asked, together, strict=True):
        full = repeated(ask.x, BATCH_SIZE)
        assert torch.equal(posterior.x0_hat, Guided(network, label, 2.0)(full, ask.sigma)[:IMAGES])
    levels = [
        float((posterior.x0_hat - ask.x).abs().mean()) for ask, posterior in zip(asked, together, strict=True)
    ]
    assert len(set(levels)) == len(LEVELS)


@pytest.mark.parametrize("variance", ["learned", "analytic"])
def test_so_is_what_is_known_of_the_variance(variance: str) -> None:
    network = denoiser(NETWORKS[0], HybridObjective())
    if variance == "analytic":
        network.variance_model = AnalyticVariance((0.1, 1.0, 10.0), (0.2, 0.5, 0.9))
    guided, asked = (
        Guided(network, torch.arange(BATCH_SIZE) % IMAGES % 10, 2.0),
        questions(with_variance=True),
    )
    field = "range_fraction" if variance == "learned" else "x0_variance"
    for ask, posterior in zip(asked, PackedSteps(guided, BATCH_SIZE)(asked), strict=True):
        alone = guided.posterior(repeated(ask.x, BATCH_SIZE), ask.sigma)
        assert torch.equal(posterior.x0_hat, alone.x0_hat[:IMAGES])
        expected = getattr(alone, field).expand_as(alone.x0_hat)[:IMAGES]
        assert torch.equal(getattr(posterior, field), expected)


@dataclass(frozen=True)
class Batch:
    """What a network was shown."""

    x: Tensor
    c_noise: Tensor
    label: Tensor


class Witness(torch.nn.Module):
    """Keeps what it is shown and answers zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Batch] = []

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor, augment: Tensor | None = None) -> Tensor:
        self.seen.append(Batch(x, c_noise, label))
        return torch.zeros_like(x)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_images_lie_side_by_side_and_are_repeated_up_to_the_batch_size(guidance: float) -> None:
    network, witness = denoiser(NETWORKS[0]), Witness()
    network.net = witness
    keys = torch.tensor([7, 3, 5])
    packed = PackedSteps(Guided(network, repeated(keys, 8), guidance), 8)
    asked = questions(3)[:2]
    packed(asked)
    batch = witness.seen[-1]
    assert batch.label.tolist() == [7, 3, 5, 7, 3, 5, 7, 3]
    rows = [0, 1, 2, 3, 4, 5, 0, 1]
    sigma = torch.tensor([80.0] * 3 + [2.5] * 3, dtype=torch.float64)[rows]
    coefficients = network.precond(sigma)
    assert torch.equal(batch.c_noise, coefficients.c_noise.float())
    x = torch.cat([ask.x for ask in asked])[rows]
    assert torch.equal(batch.x, (coefficients.c_in[:, None, None, None] * x).float())
    calls = 1 if guidance == 1 else 2
    assert (network.nfe, packed.evaluations) == (calls, calls * 6)


def test_only_a_network_that_skips_for_a_whole_batch_has_room_for_one_step() -> None:
    assert steps_per_batch(denoiser(NETWORKS[4]), IMAGES, BATCH_SIZE) == 4
    assert steps_per_batch(denoiser(NETWORKS[4]), 33, BATCH_SIZE) == 1
    assert steps_per_batch(denoiser(DyDit(depth=2, width=48, num_heads=3)), IMAGES, BATCH_SIZE) == 1


SAMPLERS: list[SamplerBase] = [
    Heun(num_steps=4),
    EdmStochastic(num_steps=4, s_churn=2, s_tmax=1.0),
    EdmStochastic(num_steps=4, s_churn=1, s_tmax=30.0, s_noise=1.01),
    Ddim(num_steps=3, eta=0.5),
    Ddpm(num_steps=3, covariance="learned_range"),
    Ddpm(num_steps=3, covariance="beta"),
    Heun(num_steps=3, guidance=2.0),
    Ddpm(num_steps=3, covariance="learned_range", guidance=2.0),
]


SETTINGS = {"shape": SHAPE, "seed": 3, "batch_size": BATCH_SIZE, "num_classes": 10}


@pytest.fixture(scope="module")
def full_batches() -> list[Tensor]:
    """A full batch of each sampler alone."""
    network = denoiser(NETWORKS[0], HybridObjective())
    return [generate(network, sampler, indices=torch.arange(BATCH_SIZE), **SETTINGS) for sampler in SAMPLERS]


@pytest.mark.parametrize(("count", "packs"), [(5, True), (16, True), (40, False)])
def test_packed_steps_give_the_images_of_each_sampler_alone(
    count: int, packs: bool, full_batches: list[Tensor]
) -> None:
    network, found = denoiser(NETWORKS[0], HybridObjective()), dict[int, Tensor]()
    evaluations = generate_shared(
        network,
        SAMPLERS,
        indices=torch.arange(count),
        emit=lambda number, chunk, images: found.__setitem__(number, images),
        **SETTINGS,
    )
    assert evaluations == count * shared_evaluations(SAMPLERS)
    for number, sampler in enumerate(SAMPLERS):
        assert torch.equal(found[number], full_batches[number][:count]), sampler.label
    assert (network.nfe < shared_evaluations(SAMPLERS)) == packs
