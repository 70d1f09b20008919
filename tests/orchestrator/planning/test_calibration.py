"""Sampling speed from a few forward passes: what is measured, what is kept, and what a plan says of it."""

from typing import Any

import pytest
import torch

from engine.config.network_shape import net_shape
from engine.evaluation import forward_benchmark as forwards
from engine.evaluation.forward_benchmark import ForwardTiming, measure_forwards
from orchestrator.planning import speed as speed_module
from orchestrator.planning.calibration import FORWARD_PASSES, batch_cost, calibrate, distinct_networks
from orchestrator.planning.cost import sampling_cost
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import Speed, speed_of
from orchestrator.results.speed import remember_speed
from orchestrator.storage.speeds import read_speeds, write_speeds

DYDIT = "set: {model.kind: dydit, model.width: 16, model.depth: 2, model.num_heads: 4, model.patch_size: 4}"


@pytest.fixture
def two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every pass takes 2 seconds."""
    monkeypatch.setattr(forwards, "measure_forwards", lambda *_: ForwardTiming(2.0, None))


def calibrated(fake: Any, plan: Plan) -> None:
    """Calibrate and remember it, as the command does."""
    write_speeds(fake.store, calibrate(plan, read_speeds(fake.store)))


def test_a_network_is_measured_once_whatever_its_samplers(fake: Any) -> None:
    channels = [experiment.model.channels for experiment in distinct_networks(fake.plan())]
    assert channels == [8, 16]
    fake.finish_everything()
    assert distinct_networks(fake.plan()) == []


def test_forward_timing_is_the_median_after_one_warm_up(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 90.0, 100.0, 101.0, 200.0, 207.0, 300.0, 302.0])  # warm-up 90 s, then 1, 7 and 2
    monkeypatch.setattr(forwards.time, "perf_counter", lambda: next(clock))
    subject = (
        fake.changed("panel:", "set: {model.class_conditional: true}\npanel:").plan().cells[0].experiment
    )
    assert measure_forwards(subject, 3, torch.device("cpu")) == ForwardTiming(2.0, None)


def test_speed_is_all_networks_work_over_all_their_seconds(fake: Any, two_seconds: None) -> None:
    plan = fake.plan()
    calibrated(fake, plan)
    narrow, wide = (sampling_cost(experiment).macs for experiment in distinct_networks(plan))
    speed = speed_of(fake.sweep, read_speeds(fake.store))
    assert speed == Speed(
        speed_module.ASSUMED_CPU_SPEED, 64 * (narrow + wide) / 4, measured=False, forwards=FORWARD_PASSES
    )
    assert speed.basis == "sampling measured by 3 forwards on this machine, training an assumed speed"


def test_passes_run_on_the_threads_that_the_grid_gives_a_worker(
    fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(
        forwards,
        "measure_forwards",
        lambda *_: seen.append(torch.get_num_threads()) or ForwardTiming(2.0, None),
    )
    calibrate(fake.changed("panel:", "resources: {cpus_per_worker: 2}\npanel:").plan(), {})
    assert (seen, torch.get_num_threads()) == ([2, 2], before)


def test_a_dydit_counts_what_its_fresh_weights_execute(fake: Any) -> None:
    subject = fake.changed("axes: {model.channels: [8, 16]}", DYDIT).plan().cells[0].experiment
    ratio = measure_forwards(subject, 1, torch.device("cpu")).flops_ratio
    assert ratio is not None
    assert batch_cost(subject, 1)[0] == 64 * subject.model.executed_cost(net_shape(subject), ratio).macs


def test_finished_cells_replace_the_calibrated_speed(fake: Any, two_seconds: None) -> None:
    before = fake.plan()
    calibrated(fake, before)
    for unit in before.trainings:
        fake.finish_training(unit)
    remember_speed(before, fake.plan(), fake.store)
    assert (
        speed_of(fake.sweep, read_speeds(fake.store)).forwards == FORWARD_PASSES
    )  # no cell has told more yet
    fake.finish_everything()
    remember_speed(before, fake.plan(), fake.store)
    speed = speed_of(fake.sweep, read_speeds(fake.store))
    assert (speed.measured, speed.forwards, speed.basis) == (True, 0, "measured on this storage")


def test_calibration_keeps_the_measured_training_speed(fake: Any, two_seconds: None) -> None:
    fake.json("speed.json", {"digits/ddpmpp": {"train": 7.0, "sample": 1.0}, "cifar10/unet": {"sample": 5.0}})
    calibrated(fake, fake.plan())
    speed = speed_of(fake.sweep, read_speeds(fake.store))
    assert (speed.train, speed.measured, speed.forwards) == (7.0, True, FORWARD_PASSES)
    assert speed.basis == "sampling measured by 3 forwards on this machine, training measured on this storage"
    assert fake.store.root.read_json("speed.json")["cifar10/unet"] == {"sample": 5.0}


def test_the_command_measures_and_says_so(orch: Any, fake: Any) -> None:
    grid, storage = str(fake.sweep.path), str(fake.path)
    assert "(assumed speed; measured from the first run on)" in orch("plan", grid, "--storage", storage)[1]
    assert not fake.path.exists()
    code, out, _ = orch("plan", grid, "--storage", storage, "--calibrate")
    assert code == 0
    assert "sampling measured by 3 forwards on this machine" in " ".join(out.split())
    assert fake.store.root.read_json("speed.json")["digits/ddpmpp"]["forwards"] == FORWARD_PASSES
