"""Trainings small enough for unit tests: seconds on one
core, and four steps that take a tenth of a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Data, EvaluationProtocol, Experiment, Start
from engine.config.train import Train
from engine.data.datasets import ImageSet, load_images
from engine.files import LocalFiles, unpack
from engine.objectives.edm import EdmObjective
from engine.objectives.ocm import OcmObjective
from engine.objectives.registry import Objective
from engine.objectives.simple import SimpleObjective
from engine.samplers.heun import Heun
from engine.training.loop import Tick, train
from engine.training.snapshot import CHECKPOINT

FOUR_STEPS: dict[str, Any] = {
    "batch_size": 8,
    "microbatch_size": 4,
    "total_kimg": 0.032,
    "snapshot_kimg": 0.016,
    "lr": 2e-3,
    "lr_rampup_kimg": 0.0,
    "ema_halflife_kimg": 0.02,
    "ema_rampup_ratio": None,
}


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    return load_images("digits", None)


@pytest.fixture
def tiny() -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(
            channels=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), dropout=0.1
        ),
        objective=EdmObjective(),
        train=Train(
            batch_size=16,
            microbatch_size=8,
            total_kimg=0.192,
            snapshot_kimg=0.064,
            lr=2e-3,
            lr_rampup_kimg=0.05,
            ema_halflife_kimg=0.05,
        ),
        sample=Heun(num_steps=4),
        eval=EvaluationProtocol(num_samples=32, batch_size=16),
    )


class Killed(Exception):
    """Stands for a process that dies."""


@dataclass(frozen=True)
class ShortRuns:
    """Trainings of four steps, snapshots after the second and the fourth, each in a folder of its own."""

    digits: ImageSet
    root: Path

    @staticmethod
    def speck(objective: Objective | None = None, **settings: Any) -> Experiment:
        """The smallest experiment there is, with dropout."""
        return Experiment(
            data=Data(name="digits"),
            model=DdpmPlusPlus(
                channels=4, channel_mult=(1,), num_blocks=1, attention_resolutions=(), dropout=0.1
            ),
            objective=objective or EdmObjective(),
            train=Train.model_validate({**FOUR_STEPS, **settings}),
            sample=Heun(num_steps=2),
            eval=EvaluationProtocol(num_samples=16, batch_size=16),
        )

    def with_head(self, parent: Objective | None = None, **settings: Any) -> Experiment:
        """An OCM head on a network that was trained with `parent`, as long but from another seed."""
        start = Start(objective=parent or SimpleObjective(num_timesteps=20), train=self.speck(seed=3).train)
        head = OcmObjective(head="complex", num_timesteps=20)
        return self.speck(**settings).model_copy(update={"objective": head, "start": start})

    def run(
        self,
        experiment: Experiment,
        name: str = "run",
        *,
        die_at: int | None = None,
        parent: str | None = None,
    ) -> list[Tick]:
        """Train in the folder `name`, or go on there; raises Killed after the report at `die_at` images."""
        ticks: list[Tick] = []

        def report(tick: Tick) -> None:
            ticks.append(tick)
            if tick.images_shown == die_at:
                raise Killed

        parent_files = LocalFiles(self.root / parent) if parent else None
        train(
            experiment, self.digits, LocalFiles(self.root / name), report, torch.device("cpu"), parent_files
        )
        return ticks

    def run_in_two_halves(
        self, experiment: Experiment, name: str, *, die_at: int | None = None, parent: str | None = None
    ) -> list[Tick]:
        """The same by two processes, of which the first dies at the first snapshot, or at `die_at` images."""
        with pytest.raises(Killed):
            self.run(experiment, name, die_at=die_at or experiment.train.snapshot_images[0], parent=parent)
        return self.run(experiment, name, parent=parent)

    def checkpoint(self, name: str = "run") -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and metadata of the checkpoint."""
        return unpack((self.root / name / CHECKPOINT).read_bytes())

    def kept(self, name: str = "run") -> dict[str, bytes]:
        """All that a training leaves behind, but curves and timings:
        files of weights, and the checkpoint's state."""
        found = {path.name: path.read_bytes() for path in (self.root / name / "snapshots").iterdir()}
        tensors, metadata = self.checkpoint(name)
        state = {key: repr(metadata[key]).encode() for key in ("step", "precision", "scaler")}
        return found | state | {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}

    @staticmethod
    def curves(ticks: list[Tick]) -> list[str]:
        """All curve rows but timings, as text, in which a norm that is not a number equals itself."""
        return [repr(row) for row in ticks[-1].curves if row[1] != "train/images_per_second"]


@pytest.fixture(scope="session")
def short_in(digits: ImageSet) -> Callable[[Path], ShortRuns]:
    """Makes trainings of four steps below a folder."""
    return lambda folder: ShortRuns(digits, folder)


@pytest.fixture
def short(digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShortRuns:
    """Trainings of four steps, without panels, which would take longer than the steps."""
    monkeypatch.setattr("engine.training.loop.save_panel", lambda *_: None)
    return ShortRuns(digits, tmp_path)
