"""The memory budget of a training, what a plan says of it, and when it warns."""

from pathlib import Path
from typing import Any

import pytest

from engine.backbones.shape import NetShape
from engine.build import build_network
from engine.config.experiment import Experiment
from engine.training.memory import Memory, memory_budget
from orchestrator.commands.options import make_console
from orchestrator.console.plan_view import show_memory
from orchestrator.grid.override import changed
from orchestrator.planning import memory
from orchestrator.planning.memory import (
    gpu_memory,
    group_memory,
    largest_memory,
    largest_shared_run,
    memory_words,
    shortage,
    training_memory,
)
from orchestrator.planning.prefix_groups import prefix_groups

GIB = 2**30


def with_train(experiment: Experiment, **values: Any) -> Experiment:
    return changed(experiment, {f"train.{name}": value for name, value in values.items()})


def test_fp32_holds_four_numbers_a_parameter_and_one_an_average(fake: Any) -> None:
    experiment = fake.sweep.anchor
    params = sum(parameter.numel() for parameter in build_network(experiment).parameters())
    budget = memory_budget(experiment, params, microbatch=10)
    per_image = experiment.model.activation_bytes(NetShape(resolution=8, in_channels=1, num_classes=10))
    assert budget == Memory(4 * params, 4 * params, 8 * params, 4 * params, 10 * per_image)
    assert budget.total == 20 * params + 10 * per_image


def test_mixed_precision_adds_a_copy_of_the_weights_and_shrinks_activations(fake: Any) -> None:
    full, mixed = (
        memory_budget(with_train(fake.sweep.anchor, precision=p), 1000, 10) for p in ("fp32", "bf16")
    )
    assert (mixed.weights, mixed.gradients, mixed.optimizer) == (6000, full.gradients, full.optimizer)
    assert mixed.activations < full.activations


def test_every_further_average_is_another_copy(fake: Any) -> None:
    experiment = with_train(fake.sweep.anchor, ema_extra_halflives_kimg=(0.5, 2.0), ema_power=(0.05, 0.1))
    assert memory_budget(experiment, 1000, 10).averages == 5 * 4000


def test_a_head_on_a_frozen_network_keeps_neither_gradients_nor_activations(fake: Any) -> None:
    anchor = fake.sweep.anchor.model_dump()
    start = {"objective": {"kind": "simple"}, "train": anchor["train"]}
    experiment = Experiment.model_validate({**anchor, "objective": {"kind": "ocm"}, "start": start})
    assert memory_budget(experiment, 1000, 10) == Memory(4000, 0, 0, 4000, 0)


@pytest.mark.parametrize(
    ("workers", "microbatch", "images"), [(1, None, 100), (4, None, 25), (1, 20, 20), (2, 50, 50)]
)
def test_a_worker_holds_a_microbatch_of_its_share(
    fake: Any, workers: int, microbatch: int | None, images: int
) -> None:
    unit = (
        fake.changed("panel:", f"set: {{train.microbatch_size: {microbatch or 'null'}}}\npanel:")
        .plan()
        .trainings[0]
    )
    one = memory_budget(unit.experiment, 0, 1).activations
    assert training_memory(unit, workers).activations == images * one


def test_a_plan_shows_its_largest_training_until_it_has_run(
    fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = fake.plan()
    largest = largest_memory(plan)
    assert largest == max(
        (training_memory(unit, 1) for unit in plan.trainings), key=lambda budget: budget.total
    )
    show_memory(plan, make_console())
    assert capsys.readouterr().out == f"memory per worker: {memory_words(largest)}\n"
    fake.finish_everything()
    assert largest_memory(fake.plan()) is None
    show_memory(fake.plan(), make_console())
    assert capsys.readouterr().out == ""


def test_the_words_use_one_unit() -> None:
    assert memory_words(Memory(*(int(x * GIB) for x in (0.2, 0.2, 0.4, 0.2, 7.3)))) == (
        "about 8.3 GiB (weights 0.2, gradients 0.2, optimizer 0.4, averages 0.2, activations 7.3)"
    )
    assert memory_words(Memory(2**20, 2**20, 2**21, 2**20, 2**22)).startswith("about 9.0 MiB (weights 1.0, ")


@pytest.mark.parametrize(
    ("gpus", "device", "words"),
    [
        (1.0, 8 * GIB, "a GPU here has 8.0 GiB; set train.microbatch_size"),
        (2.0, 8 * GIB, "a GPU here has 8.0 GiB"),
        (0.5, 16 * GIB, "0.5 of a GPU here is 8.0 GiB"),
        (1.0, 11 * GIB, None),
        (0.0, 8 * GIB, None),
        (1.0, None, None),
    ],
)
def test_it_warns_only_where_a_known_gpu_is_too_small(
    monkeypatch: pytest.MonkeyPatch, gpus: float, device: int | None, words: str | None
) -> None:
    monkeypatch.setattr(memory, "gpu_memory", lambda: device)
    found = shortage(Memory(0, 0, 0, 0, 10 * GIB), gpus)
    assert found is None if words is None else str(found).startswith(words)


@pytest.mark.parametrize(
    ("script", "size"),
    [("echo 81559; echo 40960", 40960 * 2**20), ("echo no devices; exit 9", None), ("echo nothing", None)],
)
def test_the_driver_is_asked_for_the_smallest_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, size: int | None
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu_memory() == size


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() is None


def test_a_plan_shows_the_largest_shared_run_until_it_is_done(
    fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    panel = "panel: [{kind: edm_stochastic, num_steps: 12, s_churn: [1, 2, 3], s_tmax: 1}]"
    churn = fake.changed(fake.sweep.source, fake.sweep.source.split("panel:")[0] + panel)
    assert largest_shared_run(fake.plan()) is None  # its samplers have nothing but their latents in common
    plan = churn.plan()
    found = largest_shared_run(plan)
    assert found == max(
        (group_memory(group) for group in prefix_groups(plan.cells)), key=lambda budget: budget.total
    )
    show_memory(plan, make_console())
    assert f"memory per worker in a common pass, at most: {memory_words(found)}\n" in capsys.readouterr().out
    churn.finish_everything()
    assert largest_shared_run(churn.plan()) is None
