"""Images drawn for many cells in one pass are those of each cell alone, and cost what the pass counted."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.posterior import Posterior
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.deis import Deis
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun
from engine.samplers.lms import Lms
from engine.samplers.unipc import UniPc
from engine.sampling.generation import generate_block, generate_cell, read_generated
from engine.sampling.prefix_sharing import shared_evaluations

NUM_SAMPLES, BATCH_SIZE = 21, 8
SAMPLERS = [
    Heun(num_steps=6),
    EdmStochastic(num_steps=6, s_churn=2, s_tmax=1.0),
    EdmStochastic(num_steps=6, s_churn=2, s_tmax=1.0, s_noise=1.007),
    EdmStochastic(num_steps=6, s_churn=1, s_tmin=0.1, s_tmax=30.0),
    Euler(num_steps=4),
    Ddim(num_steps=5, eta=0.5),
    Ddim(num_steps=5),
    # These remember: first steps are shared, histories are carried.
    Lms(num_steps=5, solver_order=2),
    Lms(num_steps=5, solver_order=3),
    Deis(num_steps=5),
    DpmSolverPp(num_steps=5),
    DpmSolverPp(num_steps=5, eta=1),
    UniPc(num_steps=6),
    UniPc(num_steps=6, solver_order=3),
]


class Convolution(torch.nn.Module):
    """A small network in single precision, whose rounding would show any change of the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.Conv2d(16, 1, 3, padding=1)

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Tensor:
        output: Tensor = self.last(torch.nn.functional.silu(self.first(x) + c_noise[:, None, None, None]))
        return output


def experiment(sampler: SamplerBase, num_samples: int = NUM_SAMPLES) -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(),
        objective=EdmObjective(),
        train=Train(total_kimg=1, snapshot_kimg=1),
        sample=sampler,
        eval=EvaluationProtocol(num_samples=num_samples, batch_size=BATCH_SIZE),
    )


@pytest.fixture
def denoiser() -> Denoiser:
    return Denoiser(Convolution(), Preconditioning(EdmProcess(), "F"))


@pytest.mark.parametrize(
    "blocks", [[range(21)], [range(8), range(8, 21)], [range(16, 21), range(16)]], ids=str
)
def test_a_shared_pass_gives_each_cells_own_images_however_it_is_cut(
    denoiser: Denoiser, tmp_path: Path, blocks: list[range]
) -> None:
    folders = [LocalFiles(tmp_path / str(number)) for number in range(len(SAMPLERS))]
    for block in blocks:
        assert read_generated(experiment(SAMPLERS[0]), folders[0]) is None
        generate_block(experiment(SAMPLERS[0]), SAMPLERS, torch.tensor(block), denoiser, folders)
    together = [
        read_generated(experiment(sampler), folder) for sampler, folder in zip(SAMPLERS, folders, strict=True)
    ]
    for sampler, drawn in zip(SAMPLERS, together, strict=True):
        assert drawn is not None
        assert torch.equal(drawn.images, generate_cell(experiment(sampler), denoiser).images), sampler.label
    padded = 3 * BATCH_SIZE
    assert sum(drawn.evaluations for drawn in together if drawn) == padded * shared_evaluations(SAMPLERS)


@pytest.mark.parametrize(("num_samples", "room"), [(4, 2), (3, 2), (2, 4), (10, 4)])
def test_a_shared_pass_of_few_images_fills_its_batches_with_several_steps(
    denoiser: Denoiser, tmp_path: Path, num_samples: int, room: int
) -> None:
    folders = [LocalFiles(tmp_path / str(number)) for number in range(len(SAMPLERS))]
    generate_block(
        experiment(SAMPLERS[0], num_samples), SAMPLERS, torch.arange(num_samples), denoiser, folders
    )
    passed, evaluations = denoiser.nfe * BATCH_SIZE, 0
    for sampler, folder in zip(SAMPLERS, folders, strict=True):
        drawn = read_generated(experiment(sampler, num_samples), folder)
        assert drawn is not None
        assert torch.equal(drawn.images, generate_cell(experiment(sampler), denoiser).images[:num_samples]), (
            sampler.label
        )
        evaluations += drawn.evaluations
    assert evaluations == passed
    needed = -(-num_samples // BATCH_SIZE) * BATCH_SIZE * shared_evaluations(SAMPLERS)
    assert needed / room <= evaluations < needed


def chain_samplers(seed: int) -> list[SamplerBase]:
    """DDPM, OCM and DDIM walks down the same few timesteps, in any order;
    some differ in their last noise only."""
    draw = random.Random(seed)
    chain = {"num_steps": draw.choice([3, 5]), "tau": draw.choice(["linear", "quadratic", "trailing"])}
    variances = ["beta", "beta_tilde", "ocm", "learned_range"]
    walks: list[SamplerBase] = [Ddpm(covariance=name, **chain) for name in variances]
    walks += [Ddim(eta=eta, covariance=name, **chain) for eta in (0.0, 0.3, 1.0) for name in ("none", "ocm")]
    alike: list[SamplerBase] = [
        Ddim(eta=0.3, covariance="ocm", clip_pixels=limit, **chain) for limit in (None, 1, 2)
    ]
    chosen = [*alike, *draw.sample(walks, draw.randrange(1, len(walks) + 1))]
    return draw.sample(chosen, len(chosen))


class Knowing(Denoiser):
    """A denoiser that has an opinion of every variance."""

    def posterior(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Posterior:
        x0_hat = self(x, sigma, label)
        return Posterior(x0_hat, torch.sin(3 * x0_hat), 0.05 + 0.02 * torch.cos(x0_hat))


@pytest.mark.parametrize("seed", range(8))
def test_variances_and_etas_of_one_chain_share_a_pass_however_its_images_are_split(
    tmp_path: Path, seed: int
) -> None:
    denoiser, samplers = Knowing(Convolution(), Preconditioning(EdmProcess(), "F")), chain_samplers(seed)
    subject = experiment(Heun(num_steps=6))
    bounds = sorted({0, *random.Random(seed).sample([8, 16], seed % 3), NUM_SAMPLES})
    folders = [LocalFiles(tmp_path / str(number)) for number in range(len(samplers))]
    for first, last in pairwise(bounds):
        generate_block(subject, samplers, torch.arange(first, last), denoiser, folders)
    counted = 0
    for sampler, folder in zip(samplers, folders, strict=True):
        alone = subject.model_copy(update={"sample": sampler})
        drawn = read_generated(subject, folder)
        assert drawn is not None
        counted += drawn.evaluations
        assert torch.equal(drawn.images, generate_cell(alone, denoiser).images), sampler.label
    assert counted == 3 * BATCH_SIZE * shared_evaluations(samplers)
    assert shared_evaluations(samplers) < sum(sampler.nfe for sampler in samplers)


def test_a_cell_alone_counts_its_own_evaluations_and_padding(denoiser: Denoiser) -> None:
    drawn = generate_cell(experiment(Heun(num_steps=6)), denoiser)
    assert drawn.images.shape == (NUM_SAMPLES, 1, 8, 8)
    assert drawn.evaluations == 3 * BATCH_SIZE * 11


def test_images_that_are_not_finite_are_an_error_and_not_black(denoiser: Denoiser) -> None:
    torch.nn.init.constant_(denoiser.net.last.weight, float("inf"))
    with pytest.raises(FloatingPointError, match="Heun 6 gave images that are not finite"):
        generate_cell(experiment(Heun(num_steps=6)), denoiser)


def test_a_wrong_declaration_of_cost_is_an_error(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sampling.generation.shared_evaluations", lambda samplers: 12)
    with pytest.raises(RuntimeError, match=r"Heun 6 declare 12 evaluations per image but used 11\.0"):
        generate_cell(experiment(Heun(num_steps=6)), denoiser)


def test_a_wrong_declaration_is_found_in_a_pass_that_packs_too(
    denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = shared_evaluations(SAMPLERS)
    monkeypatch.setattr("engine.sampling.generation.shared_evaluations", lambda samplers: declared + 1)
    folders = [LocalFiles(tmp_path / str(number)) for number in range(len(SAMPLERS))]
    with pytest.raises(
        RuntimeError, match=rf"declare {declared + 1} evaluations per image but used {declared}\.0"
    ):
        generate_block(experiment(SAMPLERS[0], 2), SAMPLERS, torch.arange(2), denoiser, folders)
