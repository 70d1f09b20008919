"""Choosing a snapshot: the lowest score, the later of equals, and never one whose images are not finite."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import evaluate
from engine.denoiser import Denoiser
from engine.evaluate import Judge, select_snapshot
from engine.files import LocalFiles
from engine.metrics.frechet import FeatureStats
from engine.metrics.reference import Reference
from engine.objective_spec import EdmObjective
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers import Heun
from engine.spec import Data, DdpmPlusPlus, Evaluation, Experiment, Selection
from engine.train_spec import Train

EXPERIMENT = Experiment(
    data=Data(name="digits"),
    model=DdpmPlusPlus(),
    objective=EdmObjective(),
    train=Train(batch_size=100, total_kimg=3, snapshot_kimg=1),
    sample=Heun(num_steps=2),
    eval=Evaluation(selection=Selection(sampler=Heun(num_steps=2), num_samples=8), batch_size=8),
)


class Constant(torch.nn.Module):
    """x0_hat is one grey level, whatever the image."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(level))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
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
    judge = Judge(MeanGrey(), Reference(FeatureStats.of(grey), grey, "grey"))
    return select_snapshot(EXPERIMENT, LocalFiles(tmp_path), judge, torch.device("cpu"))


def test_the_lowest_score_wins_and_the_second_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choose({1000: 0.5, 2000: 0.0, 3000: 0.2}, tmp_path, monkeypatch)
    assert (choice.chosen, choice.runner_up) == (2000, 3000)


def test_the_later_of_equal_snapshots_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose({1000: 0.1, 2000: 0.1, 3000: 0.4}, tmp_path, monkeypatch).chosen == 2000


def test_a_snapshot_without_finite_images_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choose({1000: 0.5, 2000: float("nan"), 3000: float("inf")}, tmp_path, monkeypatch)
    assert (choice.chosen, choice.runner_up, len(choice.scores)) == (1000, None, 1)


def test_no_finite_snapshot_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FloatingPointError, match="not finite from every snapshot"):
        choose(dict.fromkeys((1000, 2000, 3000), float("nan")), tmp_path, monkeypatch)
