"""The training loop: it learns, repeats itself bit for bit, resumes exactly and shares a batch fairly."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.config.train import Train
from engine.config.weights import EmaWeights
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.evaluation.evaluate import load_denoiser
from engine.files import LocalFiles, unpack
from engine.objectives.edm import EdmObjective
from engine.objectives.losses.batch import Noised, Terms
from engine.sampling import generate as sampling
from engine.training import panel
from engine.training.loop import NonFiniteLoss, Tick, train
from engine.training.snapshot import CHECKPOINT, load_snapshot, snapshot_path

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


class Killed(Exception):
    """Stands for a process that dies."""


def run(experiment: Experiment, digits: ImageSet, root: Path, die_at: int | None = None) -> list[Tick]:
    ticks: list[Tick] = []

    def report(tick: Tick) -> None:
        ticks.append(tick)
        if tick.images_shown == die_at:
            raise Killed

    train(experiment, digits, LocalFiles(root), report, CPU)
    return ticks


def snapshot_bytes(experiment: Experiment, root: Path) -> list[bytes]:
    return [(root / snapshot_path(images)).read_bytes() for images in experiment.train.snapshot_images]


def losses(tick: Tick) -> list[tuple[float, float]]:
    return [(kimg, value) for kimg, name, value in tick.curves if name == "train/loss"]


def with_train(experiment: Experiment, **changes: object) -> Experiment:
    settings = Train.model_validate({**experiment.train.model_dump(), **changes})
    return experiment.model_copy(update={"train": settings})


def test_loss_falls(tiny: Experiment, digits: ImageSet, tmp_path: Path) -> None:
    longer = with_train(tiny, total_kimg=1.92, snapshot_kimg=0.96, microbatch_size=None)
    curve = losses(run(longer, digits, tmp_path)[-1])
    early, late = [value for _, value in curve[:3]], [value for _, value in curve[-3:]]
    assert sum(late) < 0.8 * sum(early)


def test_training_repeats_itself_bit_for_bit(tiny: Experiment, digits: ImageSet, tmp_path: Path) -> None:
    first, second = (run(tiny, digits, tmp_path / name) for name in ("a", "b"))
    assert losses(first[-1]) == losses(second[-1])
    assert snapshot_bytes(tiny, tmp_path / "a") == snapshot_bytes(tiny, tmp_path / "b")
    assert losses(first[-1]) != losses(run(with_train(tiny, seed=1), digits, tmp_path / "c")[-1])


def test_a_killed_training_resumes_to_the_same_weights_and_curves(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    whole = run(tiny, digits, tmp_path / "whole")
    with pytest.raises(Killed):
        run(tiny, digits, tmp_path / "resumed", die_at=tiny.train.snapshot_images[0])
    resumed = run(tiny, digits, tmp_path / "resumed")
    assert [tick.images_shown for tick in resumed] == list(tiny.train.snapshot_images[1:])
    assert losses(resumed[-1]) == losses(whole[-1])
    assert snapshot_bytes(tiny, tmp_path / "resumed") == snapshot_bytes(tiny, tmp_path / "whole")


def test_a_finished_training_is_not_trained_again(tiny: Experiment, digits: ImageSet, tmp_path: Path) -> None:
    run(tiny, digits, tmp_path)
    assert run(tiny, digits, tmp_path) == []


def test_snapshots_and_panels_are_kept_at_every_interval(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    run(tiny, digits, tmp_path)
    assert tiny.train.snapshot_images == (64, 128, 192)
    assert len(list((tmp_path / "snapshots").iterdir())) == len(list((tmp_path / "panels").iterdir())) == 3


def test_weights_files_hold_no_pickle_and_load_as_tensors(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    run(tiny, digits, tmp_path)
    tensors, metadata = unpack((tmp_path / CHECKPOINT).read_bytes())
    assert metadata["step"] == tiny.train.num_steps
    assert {key.split("/")[0] for key in tensors} == {"net", "ema", "optimizer"}


def test_missing_snapshot_is_named(tiny: Experiment, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="images_0000000999"):
        load_snapshot(LocalFiles(tmp_path), tiny.train, 999, torch.nn.Linear(1, 1), EmaWeights())


def test_non_finite_loss_stops_training_and_keeps_the_checkpoint(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    hot = with_train(tiny, lr=1e30, lr_rampup_kimg=0.0)
    with pytest.raises(NonFiniteLoss, match="last checkpoint is intact"):
        run(hot, digits, tmp_path)


class Failing:
    """EDM's loss, spoilt from one of its calls on; counts them. `tiny` makes eight in a snapshot interval."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, first: int, spoil: Callable[[Terms, Denoiser], Terms]
    ) -> None:
        self.first, self.spoil, self.calls = first, spoil, 0
        self.real = EdmObjective.losses
        monkeypatch.setattr(EdmObjective, "losses", lambda *args: self(*args))

    def __call__(self, objective: EdmObjective, denoiser: Denoiser, batch: Noised) -> Terms:
        self.calls += 1
        terms = self.real(objective, denoiser, batch)
        return self.spoil(terms, denoiser) if self.calls >= self.first else terms


def test_half_precision_that_diverges_goes_on_in_fp32_and_is_sampled_in_fp32(
    tiny: Experiment, digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(terms: Terms, denoiser: Denoiser) -> Terms:
        return {"loss": terms["loss"] * (math.nan if denoiser.precision == "fp16" else 1)}

    panels = []

    def listening(denoiser: Denoiser, *args: Any, **kwargs: Any) -> Tensor:
        panels.append(denoiser.precision)
        return sampling.generate_images(denoiser, *args, **kwargs)

    monkeypatch.setattr(panel, "generate_images", listening)
    half = with_train(tiny, precision="fp16", on_non_finite="fp32")
    Failing(monkeypatch, 9, overflow)
    ticks = run(half, digits, tmp_path)
    assert [tick.images_shown for tick in ticks] == [64, 128, 192]
    assert [kimg for kimg, name, _ in ticks[-1].curves if name == "train/fell_back_to_fp32"] == [0.064]
    assert panels == ["fp16", "fp32", "fp32"]
    used = [load_denoiser(half, LocalFiles(tmp_path), images, CPU).precision for images in (64, 128, 192)]
    assert used == panels


def test_weights_that_are_not_finite_are_never_kept(
    tiny: Experiment, digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def infinite_slope(terms: Terms, denoiser: Denoiser) -> Terms:
        """Adds 0, whose derivative is not a number."""
        return {"loss": terms["loss"] + sum(param.sum() * 0 for param in denoiser.net.parameters()).sqrt()}

    Failing(monkeypatch, 8, infinite_slope)
    with pytest.raises(NonFiniteLoss, match=r"weights are not finite at 0\.064 kimg"):
        run(tiny, digits, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bf16_denoiser_of_a_trained_network_is_close_to_fp32(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    run(tiny, digits, tmp_path)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    full, half = (
        load_denoiser(with_train(tiny, precision=precision), LocalFiles(tmp_path), 192, CPU)(x, 1.0)
        for precision in ("fp32", "bf16")
    )
    # bf16 rounds to 2^-9. About 30 layers in a row, whose independent roundings add in quadrature: 2^-9
    # sqrt(30) = 1 % of the output; twice that for the layers' inputs being rounded too.
    assert 0 < float((half - full).norm() / full.norm()) < 0.02


@pytest.mark.parametrize(
    ("batch", "micro", "message"), [(16, 8, "no multiple of 3 workers"), (24, 3, "a worker's share of 8")]
)
def test_uneven_shares_are_refused(batch: int, micro: int, message: str, tiny: Experiment) -> None:
    from engine.training.loop import World, check_shares

    with pytest.raises(ValueError, match=message):
        check_shares(with_train(tiny, batch_size=batch, microbatch_size=micro), World(0, 3))
