"""What a plan costs, worked out by hand for the tiny sweep."""

from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.grid import Resources
from orchestrator.planning import machine
from orchestrator.planning import speed as speed_module
from orchestrator.planning.cost import model_cost, sampling_cost, selection_nfe, training_macs
from orchestrator.planning.duration import (
    START_SECONDS,
    cell_predictions,
    plan_seconds,
    search_share,
    training_seconds,
)
from orchestrator.planning.machine import place_for
from orchestrator.planning.prefix_groups import prefix_groups
from orchestrator.planning.speed import Speed, speed_of
from orchestrator.results.speed import remember_speed
from orchestrator.storage.speeds import read_speeds

CHECKPOINTING = ("panel:", "set: {train.checkpointing: true}\npanel:")
SPEED = Speed(train=1e6, sample=2e6, measured=False)


def test_a_training_costs_three_forward_passes_an_image(fake: Any) -> None:
    unit = fake.plan().trainings[0]
    assert training_macs(unit) == 4_000 * 3 * model_cost(unit.experiment).macs


def test_twice_the_channels_cost_about_four_times_as_much(fake: Any) -> None:
    """Almost all of it is convolutions from C to C channels; those from and to the image grow by 2 only."""
    narrow, wide = (training_macs(unit) for unit in fake.plan().trainings)
    assert 3.5 < wide / narrow < 4


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[8, 16]", "[8, 10]", "channels 10 is no multiple of 4"),
        (
            "panel:",
            "set: {model.channel_mult: [1, 1, 1, 1, 1]}\npanel:",
            "8 pixels can be halved only 3 times",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_a_usage_error(fake: Any, old: str, new: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be built on digits: .*{why}"):
        plan_seconds(fake.changed(old, new).plan(), SPEED, slots=1)


def test_the_last_batch_of_a_cell_counts_whole(fake: Any) -> None:
    heun = fake.plan().cells[0]
    # 100 images are two batches of 64; 3 Heun steps are 5 evaluations.
    assert cell_predictions([heun], SPEED) == {
        heun.cell_id: 2 * 64 * 5 * model_cost(heun.experiment).macs / 2e6
    }


def evaluations(*cells: Any) -> int:
    """Images times network evaluations of cells that are drawn as the sweep would draw them."""
    return sum(group.evaluations for group in prefix_groups(cells))


def test_consistency_adds_one_many_step_run_for_each_deterministic_sampler(fake: Any) -> None:
    checked = fake.changed(
        "panel:", "set: {eval.consistency.num_steps: 20, eval.consistency.num_samples: 65}\npanel:"
    )
    heun, stochastic = checked.plan().cells[:2]
    assert (
        evaluations(heun) == 2 * 64 * 5 + 2 * 64 * 39
    )  # 65 images are two batches again; 20 Heun steps are 39
    assert evaluations(stochastic) == 2 * 64 * 5
    fewer = checked.changed("{kind: heun, num_steps: 3}", "{kind: heun, num_steps: [3, 4]}").plan().cells[:2]
    assert evaluations(*fewer) == 2 * 64 * (5 + 7) + 2 * 64 * 39  # both are compared with the same images
    few = fake.changed(
        "panel:", "set: {eval.consistency.num_steps: 20, eval.consistency.num_samples: 999}\npanel:"
    )
    assert evaluations(few.plan().cells[0]) == evaluations(heun)  # no more than there are


def test_guided_evaluations_count_twice(fake: Any) -> None:
    conditional = "set: {model.class_conditional: true, model.label_dropout: 0.1}\npanel:"
    guided = fake.changed("heun, num_steps: 3}", "heun, num_steps: 3, guidance: 2}").changed(
        "panel:", conditional
    )
    assert evaluations(guided.plan().cells[0]) == 2 * 64 * 10


def test_a_head_costs_its_backbone_and_itself(head: Any) -> None:
    """A norm of 8 channels and a 3x3 convolution from them
    to the grey pixel, with its bias, at 8x8 pixels."""
    parent, child = (model_cost(unit.experiment) for unit in head.plan().trainings)
    assert child.params - parent.params == 2 * 8 + 8 * 9 + 1
    assert child.macs - parent.macs == 8 * 9 * 64


# DyDiT.

DYDIT = "{model.kind: dydit, model.width: 16, model.depth: 2, model.num_heads: 4, model.patch_size: 4"


def dydit(fake: Any, **settings: float) -> Any:
    """The tiny sweep with a DyDiT, each of whose two blocks has 4 tokens of 16 features."""
    fields = "".join(f", model.{name}: {value:g}" for name, value in settings.items())
    return fake.changed("axes: {model.channels: [8, 16]}", f"set: {DYDIT}{fields}}}").plan()


def test_a_dydit_is_sampled_at_its_budget(fake: Any) -> None:
    """Attention takes 4 N d^2 + 2 N^2 d MACs a block, an MLP 8 N d^2; half of both stays."""
    cell = dydit(fake, flops_ratio=0.5).cells[0]
    tokens, width, blocks = 4, 16, 2
    skippable = blocks * (12 * tokens * width**2 + 2 * tokens**2 * width)
    full, least = model_cost(cell.experiment), sampling_cost(cell.experiment)
    assert full.macs - least.macs == skippable / 2
    assert full.params == least.params
    assert cell_predictions([cell], SPEED) == {cell.cell_id: 2 * 64 * 5 * least.macs / 2e6}


def test_a_budget_of_everything_saves_nothing(fake: Any) -> None:
    cell = dydit(fake, flops_ratio=1).cells[0]
    assert sampling_cost(cell.experiment) == model_cost(cell.experiment)


def test_training_a_dydit_pays_for_all_of_it_and_twice_in_its_warm_up(fake: Any) -> None:
    plain, warm, always = (dydit(fake, complete_kimg=kimg).trainings[0] for kimg in (0, 1, 99))
    macs = model_cost(plain.experiment).macs
    assert training_macs(plain) == 4_000 * 3 * macs
    assert training_macs(warm) == 5_000 * 3 * macs
    assert training_macs(always) == 8_000 * 3 * macs  # no longer than the training


def test_choosing_a_dydits_snapshot_samples_at_its_budget(fake: Any) -> None:
    unit = dydit(fake).trainings[0]
    seconds = selection_nfe(unit) * sampling_cost(unit.experiment).macs / SPEED.sample
    assert training_seconds(unit, "select", SPEED) == pytest.approx(START_SECONDS["train"] + seconds)


def test_checkpointing_goes_forward_once_more(fake: Any) -> None:
    plain, again = (one.plan().trainings[0] for one in (fake, fake.changed(*CHECKPOINTING)))
    assert training_macs(again) == training_macs(plain) / 3 * 4


def test_choosing_a_snapshot_samples_from_each_of_them(fake: Any) -> None:
    assert selection_nfe(fake.plan().trainings[0]) == 2 * 64 * 5  # snapshots, images, evaluations


def test_predicted_seconds_follow_the_training_state(fake: Any) -> None:
    unit = fake.plan().trainings[0]
    macs = model_cost(unit.experiment).macs
    selecting = START_SECONDS["train"] + 2 * 64 * 5 * macs / 2e6
    assert training_seconds(unit, "select", SPEED) == pytest.approx(selecting)
    assert training_seconds(unit, "train", SPEED) == pytest.approx(selecting + 12_000 * macs / 1e6)
    assert training_seconds(unit, "cached", SPEED) == 0


def test_a_finished_plan_takes_no_time(finished: Any) -> None:
    assert plan_seconds(finished.plan(), SPEED, slots=2) == 0


def test_cells_are_divided_among_all_workers(finished: Any) -> None:
    plan = finished.changed("s_churn: [0, 5, 6]", "s_churn: [0, 1, 5, 6]").plan()
    cells = sum(cell_predictions(plan.missing_cells, SPEED).values())
    fixed = START_SECONDS["session"] + START_SECONDS["sample"]
    assert plan_seconds(plan, SPEED, slots=4) == pytest.approx(fixed + cells / 4)


def test_trainings_run_side_by_side_and_the_longest_sets_the_end(fake: Any) -> None:
    plan = fake.plan()
    narrow, wide = (training_seconds(unit, "train", SPEED) for unit in plan.trainings)
    cells = sum(cell_predictions(plan.cells, SPEED).values())
    fixed = START_SECONDS["session"] + START_SECONDS["sample"]
    assert plan_seconds(plan, SPEED, slots=1) == pytest.approx(fixed + narrow + wide + cells)
    assert plan_seconds(plan, SPEED, slots=2) == pytest.approx(fixed + wide + cells / 2)


def test_a_search_takes_its_share_of_the_grid(fake: Any) -> None:
    search = fake.changed("panel:", "search: {num_trials: 1}\npanel:")
    assert (search_share(fake.sweep), search_share(search.sweep)) == (1, 0.5)
    assert search_share(fake.changed("panel:", "search: {num_trials: 99}\npanel:").sweep) == 1
    whole, half = (plan_seconds(one.plan(), SPEED, 1) - START_SECONDS["session"] for one in (fake, search))
    assert half == pytest.approx(whole / 2)


# Measured speed.


def test_speed_is_assumed_until_it_was_measured(fake: Any) -> None:
    speed = speed_of(fake.sweep, read_speeds(fake.store))
    assert (speed.train, speed.measured) == (speed_module.ASSUMED_CPU_SPEED, False)
    cores = fake.changed("panel:", "resources: {workers: 2, cpus_per_worker: 3}\npanel:").sweep
    assert speed_of(cores, read_speeds(fake.store)) == Speed(
        6 * speed_module.ASSUMED_CPU_SPEED, 3 * speed_module.ASSUMED_CPU_SPEED, False
    )
    gpus = fake.changed("panel:", "resources: {gpus_per_worker: 1}\npanel:").sweep
    assert speed_of(gpus, read_speeds(fake.store)).train == speed_module.ASSUMED_GPU_SPEED


def test_speed_of_finished_units_is_remembered_and_used(fake: Any) -> None:
    before = fake.plan()
    fake.finish_everything()
    remember_speed(before, fake.plan(), fake.store)
    trained = sum(map(training_macs, before.trainings)) / (2 * fake.train_seconds)
    evaluated = sum(fake.cell_evaluations * model_cost(cell.experiment).macs for cell in before.cells)
    speed = speed_of(fake.sweep, read_speeds(fake.store))
    assert speed.measured
    assert (speed.train, speed.sample) == pytest.approx((trained, evaluated / (4 * fake.cell_seconds)))


def test_speed_counts_as_measured_only_when_training_and_sampling_are(fake: Any) -> None:
    before = fake.plan()
    for unit in before.trainings:
        fake.finish_training(unit)
    remember_speed(before, fake.plan(), fake.store)
    assert not speed_of(fake.sweep, read_speeds(fake.store)).measured
    fake.finish_everything()
    remember_speed(before, fake.plan(), fake.store)
    measured = speed_of(fake.sweep, read_speeds(fake.store))
    remember_speed(fake.plan(), fake.plan(), fake.store)  # nothing new
    assert speed_of(fake.sweep, read_speeds(fake.store)) == measured


def test_units_that_a_search_proposed_during_the_run_are_measured_too(fake: Any) -> None:
    after = fake.plan()
    before = type(after)(fake.sweep, 0, (), (), frozenset())
    fake.finish_everything()
    remember_speed(before, fake.plan(), fake.store)
    assert speed_of(fake.sweep, read_speeds(fake.store)).measured


def test_speed_is_kept_for_each_data_set_and_model_family(fake: Any) -> None:
    fake.json("speed.json", {"cifar10/ddpmpp": {"train": 1.0, "sample": 1.0}})
    before = fake.plan()
    fake.finish_everything()
    remember_speed(before, fake.plan(), fake.store)
    assert set(fake.store.root.read_json("speed.json")) == {"cifar10/ddpmpp", "digits/ddpmpp"}


# Where.


@pytest.mark.parametrize(
    ("asked", "slots", "words", "here"),
    [
        ({}, 4, "4 CPU workers here", True),
        ({"cpus_per_worker": 3}, 1, "1 CPU workers here", True),
        ({"cpus_per_worker": 0.5}, 8, "8 CPU workers here", True),
        ({"workers": 5}, 5, "5 CPU workers; this machine has too few cores", False),
        ({"cpus_per_worker": 8}, 1, "1 CPU workers; this machine has too few cores", False),
        ({"gpus_per_worker": 1}, 2, "2 GPU workers here", True),
        ({"gpus_per_worker": 0.5}, 4, "4 GPU workers here", True),
        ({"gpus_per_worker": 1, "cpus_per_worker": 4}, 1, "1 GPU workers here", True),
        (
            {"gpus_per_worker": 1, "workers": 3},
            3,
            "3 GPU workers; this machine has too few GPUs or cores",
            False,
        ),
    ],
)
def test_place_of_a_machine_with_4_cores_and_2_gpus(
    asked: dict[str, Any], slots: int, words: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine, "gpu_count", lambda: 2)
    place = place_for(Resources(**asked))
    assert (place.slots, place.words, place.here) == (slots, words, here)


def test_a_machine_without_a_gpu_is_no_place_for_gpu_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_count", lambda: 0)
    place = place_for(Resources(workers=8, gpus_per_worker=1))
    assert (place.slots, place.words, place.here) == (8, "8 GPU workers; this machine has no GPU", False)
