"""A training that starts from another: the parent's averaged weights, and OCM's head on a network that stays frozen."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.build import build_network
from engine.files import LocalFiles
from engine.objective_spec import EdmObjective, FlowObjective, HybridObjective, Objective, SimpleObjective
from engine.spec import Start
from engine.training.snapshot import read_snapshot, snapshot_path
from engine.training.start import starting_state
from engine.weights_spec import EmaWeights

CPU = torch.device("cpu")
SIMPLE = SimpleObjective(num_timesteps=20)


def last_average(short: Any, name: str) -> dict[str, Tensor]:
    """The primary average of the last snapshot."""
    return read_snapshot(LocalFiles(short.root / name), 32, EmaWeights())[0]


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "parent", [SIMPLE, HybridObjective(num_timesteps=20), EdmObjective(), FlowObjective()], ids=lambda one: one.kind
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
    child = short.speck(EdmObjective()).model_copy(update={"start": Start(objective=SIMPLE, train=parent.train)})
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
    with pytest.raises(FileNotFoundError, match=r"the training to start from has no snapshots/images_0000000032\.s"):
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
