"""What a common pass holds, as the plan has it, beside what real passes hold."""

import random
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import Model
from engine.backbones.unet.config import UNet
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.network_shape import net_shape
from engine.config.train import Train
from engine.objectives.edm import EdmObjective
from engine.samplers.base import SamplerBase
from engine.samplers.ddpm import Ddpm
from engine.samplers.deis import Deis
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun
from engine.samplers.lms import Lms
from engine.samplers.unipc import UniPc
from engine.sampling.generate import generate_images_shared
from engine.sampling.prefix_sharing import NOISES_KEPT
from engine.sampling.shared_run_memory import FP64, WORKING_BATCHES, shared_run_memory, steps_per_batch

BATCH_SIZE = 64
BATCH_BYTES = BATCH_SIZE * 8 * 8 * FP64
UNET = {"channels": 16, "channel_mult": (1, 2), "num_blocks": 1, "attention_resolutions": (4,)}
NETWORKS = [
    DdpmPlusPlus(**UNET),
    NcsnPlusPlus(**UNET),
    Adm(**UNET, head_channels=16),
    UNet(**UNET, num_heads=2),
    Dit(depth=3, width=48, num_heads=3),
    DyDit(depth=3, width=48, num_heads=3),
    Mlp(width=32, depth=3),
]


class LiveBytes(TorchDispatchMode):
    """Inside it, the bytes of every tensor that an operation makes are counted until it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Do the operation and note the storages that are new."""
        out = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self.known:
                self.known.add(storage._cdata)
                self.live += storage.nbytes()
                self.most = max(self.most, self.live)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return out

    def _gone(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.live -= size


class Zeros(torch.nn.Module):
    """A network that holds nothing but its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, c_noise: Tensor, label: None, augment: None) -> Tensor:
        return torch.zeros_like(x)


def experiment(model: Model = NETWORKS[0], num_samples: int = BATCH_SIZE) -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=model,
        objective=EdmObjective(),
        train=Train(total_kimg=1, snapshot_kimg=1),
        sample=Heun(num_steps=3),
        eval=EvaluationProtocol(num_samples=num_samples, batch_size=BATCH_SIZE),
    )


def most_held(subject: Experiment, net: torch.nn.Module, samplers: Sequence[SamplerBase]) -> int:
    """Bytes of tensors at the high-water mark of a pass, weights left out."""
    denoiser = build_denoiser(subject, net).requires_grad_(False)
    with LiveBytes() as bytes_:
        generate_images_shared(
            denoiser,
            subject,
            samplers,
            indices=torch.arange(subject.eval.num_samples),
            seed=0,
            batch_size=BATCH_SIZE,
            emit=lambda number, chunk, images: None,
        )
    return bytes_.most


def random_samplers(draw: random.Random) -> list[SamplerBase]:
    """Samplers of 12 steps that churn on some of them, so that branches open at many levels."""
    lows, highs = [0.0, 0.01, 0.1, 0.5, 2.0], [0.02, 0.3, 1.0, 3.0, 8.0, 20.0, 80.0]
    pairs = [(low, high) for low in lows for high in highs if low < high]
    return [
        EdmStochastic(num_steps=12, s_churn=draw.choice([1, 2]), s_tmin=low, s_tmax=high)
        for low, high in draw.sample(pairs, 8)
    ]


@pytest.mark.parametrize("num_samples", [64, 16, 80])
@pytest.mark.parametrize("seed", range(2))
def test_states_and_noise_are_counted_as_a_pass_holds_them(seed: int, num_samples: int) -> None:
    subject, samplers = experiment(num_samples=num_samples), random_samplers(random.Random(seed))
    counted = shared_run_memory(subject, samplers, 0)
    held = most_held(subject, Zeros(), samplers) / BATCH_BYTES
    most = (counted.states + counted.noise) / BATCH_BYTES
    assert held <= most
    if num_samples == BATCH_SIZE:
        # A Heun step under way takes 9 to 10 batches, Euler's last step 2 fewer, of the 14 that are counted.
        assert most - held <= WORKING_BATCHES - 7


@pytest.mark.parametrize(
    ("sampler", "batches"),
    [(Euler(num_steps=6), 7), (Heun(num_steps=6), 10), (Flow(num_steps=4, method="rk4"), 13)],
)
def test_a_step_works_with_as_many_batches_as_are_counted(sampler: SamplerBase, batches: int) -> None:
    held = most_held(experiment(), Zeros(), [sampler]) / BATCH_BYTES
    assert batches - 1 < held <= batches <= WORKING_BATCHES


@pytest.mark.parametrize(
    ("sampler", "history"),
    [
        (DpmSolverPp(num_steps=6), 1),
        (Lms(num_steps=6), 3),
        (Deis(num_steps=6), 2),
        (UniPc(num_steps=6), 3),
        (UniPc(num_steps=6, solver_order=3), 4),
    ],
    ids=lambda value: value.label if isinstance(value, SamplerBase) else "",
)
def test_a_step_that_remembers_works_with_what_eulers_does_and_its_history(
    sampler: SamplerBase, history: int
) -> None:
    held = most_held(experiment(), Zeros(), [sampler]) / BATCH_BYTES
    assert 7 + history - 1 < held <= 7 + history + 1
    counted = shared_run_memory(experiment(), [sampler], 0)
    assert counted is not None
    assert counted.states == (WORKING_BATCHES + history) * BATCH_BYTES


def test_histories_of_samplers_that_branch_are_counted_as_a_pass_holds_them() -> None:
    # LMS of three orders and DEIS begin alike, so states with their slopes wait while one branch is walked.
    samplers: list[SamplerBase] = [Lms(num_steps=6, solver_order=order) for order in (2, 3, 4)]
    samplers += [Deis(num_steps=6, solver_order=order) for order in (2, 3)]
    samplers += [
        UniPc(num_steps=6, solver_order=order, variant=b) for order in (2, 3) for b in ("bh1", "bh2")
    ]
    for num_samples in (64, 16, 80):
        subject = experiment(num_samples=num_samples)
        counted = shared_run_memory(subject, samplers, 0)
        assert counted is not None
        assert most_held(subject, Zeros(), samplers) <= counted.states


def test_deterministic_samplers_keep_no_noise_and_others_eight_steps_of_it() -> None:
    samplers: list[SamplerBase] = [Heun(num_steps=4), Euler(num_steps=4)]
    assert shared_run_memory(experiment(), samplers, 0).noise == 0
    assert (
        shared_run_memory(experiment(), [*samplers, Ddpm(num_steps=4)], 0).noise == NOISES_KEPT * BATCH_BYTES
    )


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: model.kind)
def test_a_real_pass_holds_no_more_than_the_plan_says_and_less_than_a_training_would(model: Model) -> None:
    subject, samplers = experiment(model), [EdmStochastic(num_steps=3, s_churn=1)]
    net = build_network(subject)
    counted = shared_run_memory(subject, samplers, sum(parameter.numel() for parameter in net.parameters()))
    assert counted.weights == sum(parameter.nbytes for parameter in net.parameters())
    assert most_held(subject, net, samplers) <= counted.total - counted.weights
    assert counted.activations < BATCH_SIZE * model.activation_bytes(net_shape(subject))


@pytest.mark.parametrize(
    ("num_samples", "found"), [(128, {1}), (144, {1, 4}), (160, {1, 2}), (32, {2}), (16, {4}), (40, {1})]
)
def test_the_last_batch_may_have_room_for_several_steps(num_samples: int, found: set[int]) -> None:
    assert steps_per_batch(experiment(num_samples=num_samples)) == found
    assert steps_per_batch(experiment(NETWORKS[5], num_samples)) == {1}  # a DyDiT's steps run one by one
