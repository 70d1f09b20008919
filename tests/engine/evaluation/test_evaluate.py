"""Choosing a snapshot: the lowest score, the later of equals, never one that is not finite.
What a DyDiT executes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.cost import attention_cost, mlp_cost
from engine.backbones.dit.layout import dit_layout
from engine.backbones.dydit.config import DyDit
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment, Selection
from engine.config.network_shape import net_shape
from engine.config.train import Train
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.evaluation import evaluate
from engine.evaluation.evaluate import evaluate_cell, select_snapshot
from engine.evaluation.measured_cell import MeasuredCell, ReferenceContext, ask
from engine.evaluation.snapshot_cache import Snapshot
from engine.files import LocalFiles
from engine.metrics.frechet import FeatureStats
from engine.metrics.kinds.flops_ratio import FLOPS_RATIO
from engine.metrics.reference import Reference
from engine.objectives.edm import EdmObjective
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.heun import Heun

EXPERIMENT = Experiment(
    data=Data(name="digits"),
    model=DdpmPlusPlus(),
    objective=EdmObjective(),
    train=Train(batch_size=100, total_kimg=3, snapshot_kimg=1),
    sample=Heun(num_steps=2),
    eval=EvaluationProtocol(selection=Selection(sampler=Heun(num_steps=2), num_samples=8), batch_size=8),
)


class Constant(torch.nn.Module):
    """x0_hat is one grey level, whatever the image."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(level))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Tensor:
        return self.level.expand_as(x)


class MeanGrey:
    """The one feature of an image is its mean grey level."""

    name, dims, sha256 = "grey", 1, "0" * 64

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().flatten(1).mean(1, keepdim=True)


def choose(levels: dict[int, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The choice among snapshots that draw these grey levels, where the data's is 0 (the middle)."""

    def load(experiment: Experiment, files: Any, images_shown: int, device: torch.device) -> Denoiser:
        return Denoiser(Constant(levels[images_shown]), Preconditioning(EdmProcess(), "x0"))

    monkeypatch.setattr(evaluate, "load_denoiser", load)
    grey = torch.full((16, 1), 128.0)
    judge = ReferenceContext(MeanGrey(), Reference(FeatureStats.of(grey), grey, "grey"))
    return select_snapshot(EXPERIMENT, LocalFiles(tmp_path), judge, torch.device("cpu"))


def test_the_lowest_score_wins_and_the_second_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = choose({1000: 0.5, 2000: 0.0, 3000: 0.2}, tmp_path, monkeypatch)
    assert (choice.chosen, choice.runner_up) == (2000, 3000)


def test_the_later_of_equal_snapshots_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose({1000: 0.1, 2000: 0.1, 3000: 0.4}, tmp_path, monkeypatch).chosen == 2000


def test_a_snapshot_without_finite_images_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = choose({1000: 0.5, 2000: float("nan"), 3000: float("inf")}, tmp_path, monkeypatch)
    assert (choice.chosen, choice.runner_up, len(choice.scores)) == (1000, None, 1)


def test_no_finite_snapshot_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FloatingPointError, match="not finite from every snapshot"):
        choose(dict.fromkeys((1000, 2000, 3000), float("nan")), tmp_path, monkeypatch)


# What a DyDiT executes.

DYDIT = EXPERIMENT.model_copy(
    update={
        "model": DyDit(
            width=16, depth=2, num_heads=4, patch_size=4, class_conditional=True, label_dropout=0.1
        ),
        "sample": Heun(num_steps=2),
        "eval": EvaluationProtocol(num_samples=5, batch_size=8),
    }
)


def with_token_score(score: float) -> Denoiser:
    """A DyDiT whose token routers give every token this score."""
    denoiser = build_denoiser(DYDIT, build_network(DYDIT)).eval()
    for name, values in denoiser.named_parameters():
        if "token_router" in name:
            torch.nn.init.constant_(values, score if name.endswith("2.bias") else 0.0)
    return denoiser


def no_real_images(split: str) -> ImageSet:
    raise AssertionError("no real images are needed")


def sampled_ratio(experiment: Experiment, denoiser: Denoiser) -> tuple[float, int]:
    """The executed share, and the images times evaluations that watching took."""
    files = LocalFiles(Path("unused"))
    cell = MeasuredCell(Snapshot(experiment, denoiser, files, 0), no_real_images, files)
    found = ask([FLOPS_RATIO], cell)
    return found.metrics["flops_ratio"], found.evaluations["flops_ratio"]


def without_mlps() -> Denoiser:
    """A DyDiT in which every token goes past the MLP."""
    return with_token_score(-1.0)


def test_the_ratio_is_that_of_what_sampling_executes() -> None:
    layout = dit_layout(DYDIT.model, net_shape(DYDIT))
    attention, mlp = attention_cost(layout).macs, mlp_cost(layout).macs
    dense, _ = sampled_ratio(DYDIT, with_token_score(1.0))
    skipping, _ = sampled_ratio(DYDIT, without_mlps())
    assert dense == 1  # the other routers begin by choosing everything
    assert skipping == pytest.approx(attention / (attention + mlp), rel=1e-6)  # float32


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_extra_batch_is_counted_but_not_in_the_denoisers_own_count(guidance: float) -> None:
    denoiser, guided = (
        without_mlps(),
        DYDIT.model_copy(update={"sample": Heun(num_steps=2, guidance=guidance)}),
    )
    denoiser.nfe = 7
    _, evaluations = sampled_ratio(guided, denoiser)
    assert evaluations == 8 * 3 * guidance  # a padded batch, 2 Heun steps, each evaluation once or twice
    assert denoiser.nfe == 7


def test_padding_has_no_part_in_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def watch(net: Any) -> Iterator[list[Tensor]]:
        yield [torch.tensor([0.5] * 5 + [1.0] * 3), torch.tensor([0.25] * 5 + [1.0] * 3)]

    monkeypatch.setattr(DyDit, "watch_executed", lambda model, net: watch(net))
    assert sampled_ratio(DYDIT, without_mlps())[0] == 0.375


def test_a_cell_of_a_dydit_has_its_ratio_its_executed_macs_and_the_extra_evaluations() -> None:
    grey = torch.arange(5.0)[:, None]
    judge = ReferenceContext(MeanGrey(), Reference(FeatureStats.of(grey), grey, "grey"))
    experiment = DYDIT.model_copy(
        update={"eval": EvaluationProtocol(num_samples=5, batch_size=8, nearest_k=1)}
    )
    files = LocalFiles(Path("unused"))
    snapshot = Snapshot(experiment, without_mlps(), files, 0)
    measured = evaluate_cell(snapshot, judge, no_real_images, files)
    layout = dit_layout(DYDIT.model, net_shape(DYDIT))
    assert measured.evaluations == 2 * 8 * 3
    assert measured.nfe == 3
    # Two blocks without their MLPs; the ratio is float32, so rounding may move the count by a MAC.
    saved = DYDIT.model.executed_cost(net_shape(DYDIT), 1.0).macs - (measured.macs or 0)
    assert saved == pytest.approx(2 * mlp_cost(layout).macs, abs=1)
    assert 0 < measured.metrics["flops_ratio"] < 1
