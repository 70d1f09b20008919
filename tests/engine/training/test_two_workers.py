"""Two processes that share every batch train what one trains, bit for bit.

Each computes one microbatch of a step, so the sums over the batch have the same two terms. Dropout is on.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from engine.backbones.dydit.config import DyDit
from engine.config.experiment import Experiment, Start
from engine.config.weights import RawWeights
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.objectives.simple import SimpleObjective
from engine.objectives.vlb import VlbObjective
from engine.process.noise_levels import LossSecondMoment
from engine.process.training_schedule import LossGapSchedule
from engine.training.snapshot import read_snapshot

pytestmark = pytest.mark.slow

EQUAL = ["edm", "vlb with its history", "a head", "labels and augmentation", "fp16", "a dydit", "loss gap"]
SEVERAL = "several microbatches each"


def experiments(short: Any) -> dict[str, Experiment]:
    vlb = VlbObjective(num_timesteps=2, noise_levels=LossSecondMoment(history=2, uniform_share=0.1))
    plain = short.speck(EdmObjective())
    labelled = plain.model_copy(
        update={
            "data": plain.data.model_copy(update={"augment": 0.5}),
            "model": plain.model.model_copy(update={"class_conditional": True, "label_dropout": 0.3}),
        }
    )
    half = short.speck(
        SimpleObjective(num_timesteps=20), precision="fp16", total_kimg=0.128, snapshot_kimg=0.064
    )
    size: dict[str, Any] = {"depth": 1, "width": 16, "num_heads": 2, "patch_size": 4, "dropout": 0.1}
    budget = {"dense_kimg": 0.008, "ramp_kimg": 0.016, "complete_kimg": 0.016}
    dydit = plain.model_copy(
        update={"model": DyDit(**size, **budget), "start": Start(objective=EdmObjective(), train=plain.train)}
    )
    # With eps = 1 Adam's step is smooth in the gradient, so that rounding errors stay rounding errors.
    several = short.speck(microbatch_size=2, adam_eps=1.0, lr=1.0, keep_raw=True)
    gap = short.speck(EdmObjective(training_schedule=LossGapSchedule(num_bins=2, history=2)))
    cases = [plain, short.speck(vlb), short.with_head(), labelled, half, dydit, gap, several]
    return dict(zip([*EQUAL, SEVERAL], cases, strict=True))


@pytest.fixture(scope="module")
def both_ways(
    short_in: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """Every experiment trained by one process, and by two in one go."""
    short = short_in(tmp_path_factory.mktemp("workers"))
    alone = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.training.loop.save_panel", lambda *_: None)
        for name, experiment in experiments(short).items():
            if experiment.parent is not None:
                short.run(experiment.parent, f"{name}/parent")
            alone[name] = short.run(experiment, f"{name}/alone", parent=f"{name}/parent")
            (short.root / name / "experiment.json").write_text(experiment.model_dump_json())
    assert list(alone) == [*EQUAL, SEVERAL]
    command = [sys.executable, str(Path(__file__).with_name("distributed_worker.py")), str(short.root)]
    workers = [subprocess.Popen([*command, str(rank), "2"]) for rank in range(2)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    return short, alone


def shared_curves(short: Any, name: str) -> list[tuple[float, str, float]]:
    return [tuple(row) for row in json.loads((short.root / name / "curves.json").read_text())]


@pytest.mark.parametrize("name", EQUAL)
def test_two_workers_train_what_one_trains(name: str, both_ways: tuple[Any, dict[str, Any]]) -> None:
    short, alone = both_ways
    of_losses = [row for row in alone[name][-1].curves if row[1] == "train/loss"]
    assert of_losses == [row for row in shared_curves(short, name) if row[1] == "train/loss"]
    assert short.kept(f"{name}/shared") == short.kept(f"{name}/alone")


def test_with_several_microbatches_each_only_the_order_of_sums_differs(
    both_ways: tuple[Any, dict[str, Any]],
) -> None:
    """Four terms are added as (a + b) + (c + d) instead of ((a + b) + c)
    + d: a few parts in 2^24 of a gradient.

    Four steps add their errors up, and the later ones feel the earlier ones: 1e-5 of how far the weights have
    come is some forty times one rounding. A microbatch that was lost or counted twice would change it by
    about a quarter.
    """
    short, _ = both_ways
    one, two = (snapshot(short, f"{SEVERAL}/{how}", 32) for how in ("alone", "shared"))
    before = snapshot(short, f"{SEVERAL}/alone", 16)
    moved, apart = norm(one, before), norm(one, two)
    assert apart < 1e-5 * moved


def snapshot(short: Any, name: str, images_shown: int) -> dict[str, Tensor]:
    return read_snapshot(LocalFiles(short.root / name), images_shown, RawWeights())[0]


def norm(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    return float(sum((left[name] - right[name]).double().square().sum() for name in left) ** 0.5)
