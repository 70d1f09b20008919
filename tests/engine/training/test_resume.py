"""A training that is killed in the middle and goes on ends
as if nothing had happened, whatever state it carries."""

from typing import Any

import pytest

from engine.config.train import AdaptiveClip
from engine.objectives.edm import EdmObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.registry import Objective
from engine.objectives.regression import RegressionObjective
from engine.objectives.simple import SimpleObjective
from engine.objectives.vlb import VlbObjective
from engine.process.noise_levels import LogNormal, LossSecondMoment
from engine.process.processes import EdmProcess
from engine.process.training_schedule import LossGapSchedule

pytestmark = pytest.mark.slow

# Two timesteps and two losses remembered of each:
# the history is full when the training is killed, after 16 images.
VLB = VlbObjective(num_timesteps=2, noise_levels=LossSecondMoment(history=2, uniform_share=0.1))
STRATIFIED = RegressionObjective(process=EdmProcess(), target="F", noise_levels=LogNormal(stratified=True))
GAP = EdmObjective(training_schedule=LossGapSchedule(num_bins=2, history=2))
AVERAGES: dict[str, Any] = {
    "ema_extra_halflives_kimg": (0.0, 0.01),
    "ema_power": (0.05, 0.1),
    "keep_raw": True,
}
# The first steps are skipped until the loss scale is low enough; the others are made.
FP16: dict[str, Any] = {"precision": "fp16", "total_kimg": 0.128, "snapshot_kimg": 0.064}
ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "lr_decay": "cosine",
    "grad_clip": AdaptiveClip(),
}


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (HybridObjective(num_timesteps=20), {}),
        (VLB, {}),
        (STRATIFIED, {}),
        (GAP, {}),
        (SimpleObjective(num_timesteps=20), FP16),
        (EdmObjective(), AVERAGES),
        (EdmObjective(), ADAMW),
    ],
    ids=[
        "hybrid",
        "vlb history",
        "stratified log-normal",
        "loss gap",
        "fp16 with its loss scale",
        "averages",
        "adamw",
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(objective: Objective, settings: Any, short: Any) -> None:
    experiment = short.speck(objective, **settings)
    whole = short.run(experiment, "whole")
    resumed = short.run_in_two_halves(experiment, "resumed")
    assert [tick.images_shown for tick in resumed] == list(experiment.train.snapshot_images[1:])
    assert short.curves(resumed) == short.curves(whole)
    assert short.kept("resumed") == short.kept("whole")


def test_a_resumed_head_ends_with_the_same_bits(short: Any) -> None:
    experiment = short.with_head()
    short.run(experiment.parent, "parent")
    whole = short.run(experiment, "whole", parent="parent")
    resumed = short.run_in_two_halves(experiment, "resumed", parent="parent")
    assert short.curves(resumed) == short.curves(whole)
    assert short.kept("resumed") == short.kept("whole")


def test_what_is_restored_had_been_moved_by_the_first_half(short: Any) -> None:
    """The cases above say something only if history and loss scale are not as they were at the beginning."""
    short.run(short.speck(VLB, total_kimg=0.016), "vlb")
    short.run(short.speck(GAP, total_kimg=0.016), "gap")
    short.run(short.speck(SimpleObjective(num_timesteps=20), **{**FP16, "total_kimg": 0.064}), "fp16")
    tensors, _ = short.checkpoint("vlb")
    assert tensors["levels/seen"].sum() == 16
    assert tensors["levels/seen"].min() >= 2
    root = tensors["levels/losses"].square().mean(1).sqrt()
    assert root.max() > 1.1 * root.min()  # so that draws are no longer uniform
    assert short.checkpoint("gap")[0]["levels/seen"].min() >= 2
    tensors, metadata = short.checkpoint("fp16")
    assert 10 < metadata["scaler"]["log2_scale"] < 20
    assert 0 < tensors["optimizer/0.step"] < 8


def test_every_average_is_kept_at_every_snapshot(short: Any) -> None:
    short.run(short.speck(**AVERAGES))
    names = ["", ".ema_halflife_0", ".ema_halflife_0.01", ".power_0.05", ".power_0.1", ".raw"]
    files = {path.name: path.read_bytes() for path in (short.root / "run/snapshots").iterdir()}
    assert set(files) == {f"images_{images:010d}{name}.safetensors" for images in (16, 32) for name in names}


def test_an_average_of_half_life_zero_is_the_weights(short: Any) -> None:
    short.run(short.speck(**AVERAGES))
    tensors, _ = short.checkpoint()
    weights = {name.removeprefix("net/"): value for name, value in tensors.items() if name.startswith("net/")}
    assert all((tensors[f"ema_halflife_0/{name}"] == value).all() for name, value in weights.items())
    assert any((tensors[f"ema/{name}"] != value).any() for name, value in weights.items())
