"""A training that starts from another: the parent's averaged
weights, and OCM's head on a network that stays frozen."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.build import build_network
from engine.config.experiment import Experiment, Start, config_conflicts
from engine.config.weights import EmaWeights
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.registry import Objective
from engine.objectives.simple import SimpleObjective
from engine.objectives.vlb import VlbObjective
from engine.process.noise_levels import LossSecondMoment
from engine.training.snapshot import read_snapshot, snapshot_path
from engine.training.start import adopt, starting_state
from engine.training.step import TrainingStep, World

CPU = torch.device("cpu")
SIMPLE = SimpleObjective(num_timesteps=20)


SIZE: dict[str, Any] = {"depth": 1, "width": 16, "num_heads": 2, "patch_size": 4, "dropout": 0.1}
BUDGET: dict[str, Any] = {"dense_kimg": 0.008, "ramp_kimg": 0.016, "complete_kimg": 0.016}
"""A budget that falls during four steps of 8 images, of
which the first two have the complete network's loss."""


def dydit(short: Any, start_model: Dit | DyDit | None = None, **changes: Any) -> Experiment:
    """A DyDiT that goes on from its DiT."""
    begin = Start(objective=SIMPLE, train=short.speck(seed=3).train, model=start_model)
    model = DyDit(**(SIZE | BUDGET | changes))
    experiment: Experiment = short.speck(SIMPLE).model_copy(update={"model": model, "start": begin})
    return experiment


def last_average(short: Any, name: str) -> dict[str, Tensor]:
    """The primary average of the last snapshot."""
    return read_snapshot(LocalFiles(short.root / name), 32, EmaWeights())[0]


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "parent",
    [SIMPLE, HybridObjective(num_timesteps=20), EdmObjective(), FlowObjective()],
    ids=lambda one: one.kind,
)
def test_a_head_is_trained_on_the_parents_averaged_weights_which_stay_bit_for_bit(
    parent: Objective, short: Any
) -> None:
    experiment = short.with_head(parent, optimizer="adamw", weight_decay=0.5)
    short.run(experiment.parent, "parent")
    short.run(experiment, parent="parent")
    tensors, _ = short.checkpoint()
    frozen = last_average(short, "parent")
    for owner in ("net/", "ema/"):
        assert equal(group(tensors, f"{owner}backbone."), frozen)
    assert equal(group(last_average(short, "run"), "backbone."), frozen)
    fresh = group(build_network(experiment).state_dict(), "head.")
    assert all(not torch.equal(value, fresh[name]) for name, value in group(tensors, "net/head.").items())
    moments = {name for name in tensors if name.startswith("optimizer/") and name.endswith("exp_avg")}
    assert len(moments) == len(fresh)  # one for each parameter of the head and none for the backbone


def test_the_parents_weights_are_those_of_its_average_and_not_the_raw_ones(short: Any) -> None:
    experiment = short.with_head()
    short.run(experiment.parent, "parent")
    raw = group(short.checkpoint("parent")[0], "net/")
    assert not equal(raw, last_average(short, "parent"))


def test_a_network_goes_on_from_its_parent_with_another_objective(short: Any) -> None:
    parent = short.speck(SIMPLE, seed=3)
    child = short.speck(EdmObjective()).model_copy(
        update={"start": Start(objective=SIMPLE, train=parent.train)}
    )
    assert child.parent is not None
    short.run(child.parent, "parent")
    state = starting_state(child, LocalFiles(short.root / "run"), LocalFiles(short.root / "parent"), CPU)
    frozen = last_average(short, "parent")
    assert equal(dict(state.net.state_dict()), frozen)
    assert equal(dict(state.ema.net.state_dict()), frozen)
    assert (state.step, state.curves, state.optimizer.state_dict()["state"]) == (0, [], {})
    short.run(child, parent="parent")
    assert not equal(last_average(short, "run"), frozen)


def test_a_parent_that_is_not_there_or_not_finished_is_named(short: Any) -> None:
    experiment = short.with_head()
    with pytest.raises(FileNotFoundError, match="the training to start from has no folder"):
        short.run(experiment)
    with pytest.raises(
        FileNotFoundError, match=r"the training to start from has no snapshots/images_0000000032\.s"
    ):
        short.run(experiment, parent="nowhere")
    short.run(experiment.parent, "parent")
    (short.root / "parent" / snapshot_path(32)).unlink()
    with pytest.raises(FileNotFoundError, match="the training to start from"):
        short.run(experiment, parent="parent")
    assert not (short.root / "run").exists()


def test_a_seed_changes_the_head_and_not_what_it_stands_on(short: Any) -> None:
    short.run(short.with_head().parent, "parent")
    for seed in (0, 1):
        short.run(short.with_head(seed=seed), str(seed), parent="parent")
    first, second = (short.checkpoint(str(seed))[0] for seed in (0, 1))
    assert equal(group(first, "net/backbone."), group(second, "net/backbone."))
    assert not equal(group(first, "net/head."), group(second, "net/head."))


def test_a_dydits_parent_is_the_dit_of_its_size_unless_another_is_named(short: Any) -> None:
    fields = {"class_conditional": True, "label_dropout": 0.1, "width_divisor": 2}
    parent = dydit(short, **fields).parent
    assert parent is not None
    assert parent.model == Dit(**SIZE, **fields)
    assert (parent.start, parent.train.seed) == (None, 3)
    named = DyDit(**SIZE, flops_ratio=0.9)
    assert dydit(short, named).parent.model == named


@pytest.mark.parametrize(
    "start_model",
    [
        Dit(**(SIZE | {"width": 32})),
        Dit(**SIZE, class_conditional=True),
        DyDit(**SIZE, routes=("tokens",)),
        DyDit(**(SIZE | {"depth": 2})),
    ],
    ids=["width", "labels", "routes", "depth"],
)
def test_a_dydit_cannot_start_from_a_network_of_another_form(start_model: Dit | DyDit, short: Any) -> None:
    [(fields, reason)] = config_conflicts(dydit(short, start_model))
    assert fields == ("start.model", "model")
    assert "a DyDiT also starts from the DiT of its size" in reason


@pytest.mark.parametrize(
    "start_model", [None, Dit(**(SIZE | {"dropout": 0.0})), DyDit(**SIZE, flops_ratio=0.9)]
)
def test_a_dydit_starts_from_its_dit_or_from_one_with_another_budget(
    start_model: Dit | DyDit | None, short: Any
) -> None:
    assert config_conflicts(dydit(short, start_model)) == []


def test_a_dit_cannot_start_from_a_dydit(short: Any) -> None:
    experiment = dydit(short, DyDit(**SIZE)).model_copy(update={"model": Dit(**SIZE)})
    assert [fields for fields, _ in config_conflicts(experiment)] == [("start.model", "model")]


def test_a_dydit_takes_its_dits_average_and_its_routers_are_fresh(short: Any) -> None:
    experiment = dydit(short)
    short.run(experiment.parent, "parent")
    state = starting_state(experiment, LocalFiles(short.root / "run"), LocalFiles(short.root / "parent"), CPU)
    tensors, frozen = dict(state.net.state_dict()), last_average(short, "parent")
    fresh = build_network(experiment).state_dict()
    assert equal({name: tensors[name] for name in frozen}, frozen)
    routers = {name: value for name, value in tensors.items() if "router" in name}
    assert routers.keys() == tensors.keys() - frozen.keys()
    assert equal(routers, {name: fresh[name] for name in routers})
    assert equal(dict(state.ema.net.state_dict()), tensors)


def test_a_dydit_trains_on_and_resumes_with_the_same_bits(short: Any) -> None:
    experiment = dydit(short)
    short.run(experiment.parent, "parent")
    whole = short.run(experiment, "whole", parent="parent")
    resumed = short.run_in_two_halves(experiment, "resumed", parent="parent")
    assert short.curves(resumed) == short.curves(whole)
    assert short.kept("resumed") == short.kept("whole")
    names = {name for _, name, _ in whole[-1].curves}
    assert {f"train/{name}" for name in ("loss", "diffusion", "flops_ratio", "complete")} <= names
    before, after = build_network(experiment).state_dict(), group(short.checkpoint("whole")[0], "net/")
    assert all(not torch.equal(before[name], after[name]) for name in before if "router" in name)


def test_a_noise_levels_history_remembers_a_dydits_diffusion_loss_alone(short: Any) -> None:
    """A penalty of 1e9 times the squared distance would drown what sets the noise levels apart."""
    objective = VlbObjective(num_timesteps=4, noise_levels=LossSecondMoment(history=8))
    model = DyDit(**SIZE, flops_weight=1e9, dense_kimg=0.0, ramp_kimg=0.0, complete_kimg=1.0)
    experiment = short.speck(objective).model_copy(update={"model": model})
    state = starting_state(experiment, LocalFiles(short.root / "run"), None, CPU)
    state.step = 1  # past the first, before which all may be executed
    step = TrainingStep(experiment, short.digits, state, World(0, 1), CPU)
    values = step().tolist()
    means = dict(zip(step.names, values, strict=True))
    assert means["loss"] > 1e4 * means["diffusion"]
    # Eight losses of four timesteps, no ring of which is full:
    # draws are uniform, and what is left of each ring is 0.
    assert state.levels.history.losses.sum().item() / 8 == pytest.approx(means["diffusion"], rel=1e-6)


def test_a_network_does_not_drop_weights_in_silence() -> None:
    with pytest.raises(
        ValueError, match=r"a network without 1\.weight, 1\.bias cannot go on from one that has them"
    ):
        adopt(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
