"""When training diverges it stops and says where, or half
precision goes back to the last checkpoint, on in fp32."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.experiment import Experiment
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.objectives.losses.batch import Terms
from engine.objectives.vlb import VlbObjective
from engine.process.noise_levels import LossSecondMoment
from engine.training import precision
from engine.training.precision import NonFiniteLoss
from engine.training.snapshot import save_checkpoint
from engine.training.start import starting_state

pytestmark = pytest.mark.slow

FELL_BACK = "train/fell_back_to_fp32"
Break = Callable[..., None]


@pytest.fixture
def break_loss(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Makes the loss infinite in these calls of the objective. A step of the short trainings has two."""

    def infinite_in(*calls: int) -> None:
        count = 0

        def broken(real: Callable[..., Terms], *args: Any) -> Terms:
            nonlocal count
            count += 1
            return {
                name: value * math.inf if count in calls else value for name, value in real(*args).items()
            }

        for kind in (EdmObjective, VlbObjective):
            monkeypatch.setattr(kind, "losses", lambda *args, real=kind.losses: broken(real, *args))

    return infinite_in


def rows(ticks: list[Any]) -> list[float]:
    """Where the training fell back, in kimg."""
    return [kimg for kimg, name, _ in ticks[-1].curves if name == FELL_BACK]


def continued_in_fp32(short: Any, experiment: Experiment) -> dict[str, bytes]:
    """What is kept of the same training when its first checkpoint is made an fp32 one by hand."""
    short.run(short.speck(**{**experiment.train.model_dump(), "total_kimg": 0.016}), "by hand")
    files = LocalFiles(Path(short.root / "by hand"))
    state = starting_state(experiment, files, None, torch.device("cpu"))
    state.fall_back_to_fp32()
    save_checkpoint(files, state)
    short.run(experiment, "by hand")
    kept: dict[str, bytes] = short.kept("by hand")
    return kept


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_training_goes_on_in_fp32_from_the_last_checkpoint(half: str, short: Any, break_loss: Break) -> None:
    experiment = short.speck(precision=half, on_non_finite="fp32")
    break_loss(7)  # in the fourth step; the checkpoint is from the second
    ticks = short.run(experiment)
    assert [tick.images_shown for tick in ticks] == [16, 32]
    assert rows(ticks) == [0.016]
    assert short.checkpoint()[1]["precision"] == "fp32"
    break_loss()
    expected = continued_in_fp32(short, experiment)
    assert short.kept() == expected


def test_without_a_checkpoint_it_goes_back_to_the_beginning(short: Any, break_loss: Break) -> None:
    break_loss(2)
    ticks = short.run(short.speck(precision="bf16", on_non_finite="fp32"), "half")
    assert rows(ticks) == [0.0]
    break_loss()
    short.run(short.speck(), "full")
    tensors, expected = short.checkpoint("half")[0], short.checkpoint("full")[0]
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())


def test_it_stays_in_fp32_when_it_is_killed_and_goes_on(short: Any, break_loss: Break) -> None:
    experiment = short.speck(precision="fp16", on_non_finite="fp32", total_kimg=0.048)
    break_loss(7)
    whole = short.run(experiment, "whole")
    break_loss(7)
    resumed = short.run_in_two_halves(experiment, "resumed", die_at=32)
    assert short.kept("resumed") == short.kept("whole")
    assert short.curves(resumed) == short.curves(whole)
    assert rows(resumed) == [0.016]


def test_it_falls_back_once_only(short: Any, break_loss: Break) -> None:
    break_loss(7, 9)
    with pytest.raises(NonFiniteLoss, match=r"the loss is inf at 0\.024 kimg"):
        short.run(short.speck(precision="bf16", on_non_finite="fp32"))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16", "on_non_finite": "stop"},
        {"precision": "fp16", "on_non_finite": "stop"},
        {"precision": "fp32", "on_non_finite": "fp32"},
        {"precision": "fp32", "on_non_finite": "stop"},
    ],
    ids=lambda settings: " ".join(settings.values()),
)
def test_divergence_stops_training_when_no_fallback_is_left(
    settings: dict[str, str], short: Any, break_loss: Break
) -> None:
    break_loss(7)
    with pytest.raises(NonFiniteLoss, match=r"the loss is inf at 0\.032 kimg; the last checkpoint is intact"):
        short.run(short.speck(**settings))
    assert short.checkpoint()[1]["step"] == 2
    assert [row for row in short.checkpoint()[1]["curves"] if row[1] == FELL_BACK] == []


def test_too_many_skipped_steps_are_a_divergence_too(short: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a scale of 2^100 gradients overflow, though the loss is finite;
    here the first such step is one too many."""
    monkeypatch.setattr(precision, "INITIAL_LOG2_SCALE", 100.0)
    monkeypatch.setattr(precision, "MAX_SKIPPED_STEPS", 0)
    with pytest.raises(NonFiniteLoss, match="the gradients of the last 1 steps were not finite"):
        short.run(short.speck(precision="fp16"), "stops")
    assert rows(short.run(short.speck(precision="fp16", on_non_finite="fp32"), "goes on")) == [0.0]


def test_a_loss_after_the_checkpoint_leaves_no_trace_in_the_history(short: Any, break_loss: Break) -> None:
    """Else an infinite loss would weigh all later draws."""
    break_loss(7)
    objective = VlbObjective(num_timesteps=2, noise_levels=LossSecondMoment(history=2))
    ticks = short.run(short.speck(objective, precision="bf16", on_non_finite="fp32"))
    tensors, _ = short.checkpoint()
    assert rows(ticks) == [0.016]
    assert tensors["levels/seen"].sum() == 32
    assert tensors["levels/losses"].isfinite().all()
