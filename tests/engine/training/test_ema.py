"""Several averages at once: each follows its formula, and all of them survive a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.config.train import Train
from engine.config.weights import (
    EmaWeights,
    PowerWeights,
    RawWeights,
    Weights,
    canonical_weights,
    check_weights,
    tracked_weights,
)
from engine.files import LocalFiles
from engine.objectives.design import Design
from engine.objectives.edm import EdmObjective
from engine.process.noise_levels import LossSecondMoment
from engine.process.processes import DiscreteProcess
from engine.process.weighting import UniformWeight
from engine.training.ema import Ema, EmaSet, ema_decay, power_decay
from engine.training.levels import LevelDrawer
from engine.training.optim import optimizer_step, optimizer_tensors
from engine.training.posthoc import power_gamma
from engine.training.snapshot import (
    TrainingState,
    load_snapshot,
    restore_checkpoint,
    save_checkpoint,
    save_snapshot,
    snapshot_path,
)

SEVERAL = {"ema_extra_halflives_kimg": [0.5, 50], "ema_power": [0.05, 0.1], "keep_raw": True}


def settings(**changes: object) -> Train:
    base = {
        "batch_size": 100,
        "total_kimg": 4.0,
        "snapshot_kimg": 1.0,
        "ema_halflife_kimg": 2.0,
        "lr_rampup_kimg": 0.0,
    }
    return Train.model_validate({**base, **changes})


def small_net() -> nn.Module:
    """Two layers and a buffer that moves."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def started(train: Train) -> TrainingState:
    return TrainingState.start(small_net(), train, LevelDrawer(EdmObjective().design, train.batch_size))


def trained(state: TrainingState, train: Train, steps: int) -> None:
    """Some steps on keyed inputs, as the loop makes them."""
    for _ in range(steps):
        images_shown = state.step * train.batch_size
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(state.step))
        state.optimizer.zero_grad()
        loss = (state.net(inputs) - 1).square().mean()
        (loss if state.scaler is None else loss * state.scaler.scale).backward()
        optimizer_step(state.optimizer, list(state.net.parameters()), train, images_shown, state.scaler)
        state.ema.update(state.net, images_shown)
        state.step += 1


def test_names_of_the_averages_are_those_of_their_files() -> None:
    ema = EmaSet(small_net(), settings(**SEVERAL))
    assert list(ema.averages) == ["ema", "ema_halflife_0.5", "ema_halflife_50", "power_0.05", "power_0.1"]
    assert ema.net is ema.averages["ema"].net
    assert list(EmaSet(small_net(), settings()).averages) == ["ema"]


def test_every_average_follows_its_own_decay() -> None:
    train, net = settings(**SEVERAL), small_net()
    ema = EmaSet(net, train)
    alone = {name: Ema(net) for name in ema.averages}
    for step in range(5):
        with torch.no_grad():
            for param in net.parameters():
                param.add_(1.0)
        shown = step * train.batch_size
        ema.update(net, shown)
        for name, halflife in (("ema", 2.0), ("ema_halflife_0.5", 0.5), ("ema_halflife_50", 50.0)):
            alone[name].update(net, ema_decay(train, shown, halflife))
        for name, width in (("power_0.05", 0.05), ("power_0.1", 0.1)):
            alone[name].update(net, power_decay(train, shown, power_gamma(width)))
    for name, average in alone.items():
        for kept, wanted in zip(ema.averages[name].net.parameters(), average.net.parameters(), strict=True):
            assert torch.equal(kept, wanted)


def test_power_updates_weigh_each_step_by_the_profiles_integral_over_it() -> None:
    """The weight of step k after n steps is the integral of (g + 1) tau^g / n^(g + 1) from k - 1 to k."""
    train, gamma, steps = settings(), power_gamma(0.1), 50
    weights = torch.zeros(steps, dtype=torch.float64)
    for step in range(steps):
        decay = power_decay(train, step * train.batch_size, gamma)
        weights *= decay
        weights[step] = 1 - decay
    edges = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (gamma + 1)
    torch.testing.assert_close(weights, edges.diff(), rtol=1e-12, atol=1e-15)


def test_a_power_average_has_the_relative_width_it_is_named_after() -> None:
    train, steps = settings(), 4000
    for width in (0.05, 0.1):
        weights = torch.zeros(steps, dtype=torch.float64)
        for step in range(steps):
            decay = power_decay(train, step * train.batch_size, power_gamma(width))
            weights *= decay
            weights[step] = 1 - decay
        times = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
        mean = (weights * times).sum()
        # Moving each step's weight to its middle errs by the square of half a step:
        # 1 / 4000 of the width at most.
        assert float((weights * (times - mean).square()).sum().sqrt()) == pytest.approx(width, rel=1 / 4000)


def test_the_first_step_of_every_ramped_average_copies_the_weights() -> None:
    net = small_net()
    ema = EmaSet(net, settings(**SEVERAL))
    with torch.no_grad():
        net[0].weight.add_(1.0)
    net[1].running_mean.fill_(3.0)
    ema.update(net, 0)
    for average in ema.averages.values():
        assert all(
            torch.equal(average.net.state_dict()[name], value) for name, value in net.state_dict().items()
        )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_checkpoint_brings_everything_back_bit_for_bit(precision: str, tmp_path: Path) -> None:
    train, files = settings(precision=precision, **SEVERAL), LocalFiles(tmp_path)
    whole = started(train)
    trained(whole, train, 5)
    save_checkpoint(files, whole)
    resumed = started(train)
    assert restore_checkpoint(files, resumed)
    for state in (whole, resumed):
        trained(state, train, 5)
    assert resumed.step == whole.step == 10
    networks = [(resumed.net, whole.net)]
    networks += [
        (resumed.ema.averages[name].net, average.net) for name, average in whole.ema.averages.items()
    ]
    for one, other in networks:
        assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
    moments = optimizer_tensors(resumed.optimizer)
    assert all(
        torch.equal(moments[name], value) for name, value in optimizer_tensors(whole.optimizer).items()
    )
    if whole.scaler is None or resumed.scaler is None:
        assert whole.scaler is resumed.scaler is None
    else:
        assert resumed.scaler.state() == whole.scaler.state()
        assert whole.scaler.state()["log2_scale"] == pytest.approx(20.010)


def test_a_checkpoint_keeps_the_history_that_noise_levels_are_drawn_by(tmp_path: Path) -> None:
    design = Design(
        DiscreteProcess(schedule="linear", num_timesteps=4), "eps", UniformWeight(), LossSecondMoment()
    )
    states = [TrainingState.start(small_net(), settings(), LevelDrawer(design, 100)) for _ in range(2)]
    states[0].levels.record(torch.arange(100) % 4, torch.linspace(0.1, 0.9, 100))
    save_checkpoint(LocalFiles(tmp_path), states[0])
    restore_checkpoint(LocalFiles(tmp_path), states[1])
    kept, restored = states[0].levels.tensors(), states[1].levels.tensors()
    assert kept["losses"].any()
    assert all(torch.equal(restored[name], tensor) for name, tensor in kept.items())


def test_a_training_that_fell_back_to_fp32_resumes_in_fp32(tmp_path: Path) -> None:
    train, files = settings(precision="fp16"), LocalFiles(tmp_path)
    state = started(train)
    assert state.precision == "fp16"
    state.fall_back_to_fp32()
    save_checkpoint(files, state)
    resumed = started(train)
    restore_checkpoint(files, resumed)
    assert (resumed.precision, resumed.scaler) == ("fp32", None)


def test_every_kind_of_weights_is_kept_and_loaded(tmp_path: Path) -> None:
    train, files = settings(**SEVERAL), LocalFiles(tmp_path)
    state = started(train)
    trained(state, train, 10)
    save_snapshot(files, state, 1000)
    choices: list[Weights] = [*tracked_weights(train), RawWeights()]
    sources = [*(average.net for average in state.ema.averages.values()), state.net]
    for weights, source in zip(choices, sources, strict=True):
        net = small_net()
        load_snapshot(files, train, 1000, net, weights)
        assert all(torch.equal(net.state_dict()[name], value) for name, value in source.state_dict().items())
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == sorted(
        f"images_0000001000{end}.safetensors"
        for end in ("", ".ema_halflife_0.5", ".ema_halflife_50", ".power_0.05", ".power_0.1", ".raw")
    )


def test_by_default_only_the_primary_average_is_kept(tmp_path: Path) -> None:
    save_snapshot(LocalFiles(tmp_path), started(settings()), 1000)
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["images_0000001000.safetensors"]


def test_a_missing_snapshot_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="images_0000000999"):
        load_snapshot(LocalFiles(tmp_path), settings(), 999, small_net(), EmaWeights())


def test_the_primary_half_life_may_be_written_out() -> None:
    train = settings(**SEVERAL)
    written = EmaWeights(halflife_kimg=2.0)
    check_weights(written, train)
    assert canonical_weights(written, train) == EmaWeights()
    assert (
        snapshot_path(5, canonical_weights(written, train))
        == snapshot_path(5)
        == snapshot_path(5, EmaWeights())
    )
    other = EmaWeights(halflife_kimg=50.0)
    assert canonical_weights(other, train) == other


def test_labels_say_which_weights_in_words() -> None:
    train = settings(**SEVERAL)
    labels = {
        EmaWeights(): "ema, half-life 2 kimg",
        EmaWeights(halflife_kimg=50.0): "ema, half-life 50 kimg",
        PowerWeights(sigma_rel=0.05): "power-function ema, width 0.05",
        PowerWeights(sigma_rel=0.07): "power-function ema, width 0.07, post hoc",
        RawWeights(): "raw weights",
    }
    assert {weights: weights.label(train) for weights in labels} == labels


@pytest.mark.parametrize("width", [0.025, 0.03, 0.05, 0.07, 0.1, 0.2])
def test_two_tracked_widths_reach_from_half_the_shortest_to_twice_the_longest(width: float) -> None:
    check_weights(PowerWeights(sigma_rel=width), settings(**SEVERAL))


@pytest.mark.parametrize(
    ("weights", "train", "message"),
    [
        (EmaWeights(halflife_kimg=7.0), SEVERAL, "tracks half-lives of 2, 0.5, 50 kimg, not 7"),
        (PowerWeights(sigma_rel=0.1), {}, "needs two tracked widths"),
        (PowerWeights(sigma_rel=0.1), {"ema_power": [0.05]}, "needs two tracked widths"),
        (PowerWeights(sigma_rel=0.24), SEVERAL, "out of reach of train.ema_power: from 0.025 to 0.2"),
        (PowerWeights(sigma_rel=0.02), SEVERAL, "out of reach"),
        (RawWeights(), {}, "keep_raw: true"),
    ],
)
def test_weights_that_are_not_kept_are_refused_in_words(
    weights: Weights, train: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_weights(weights, settings(**train))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema_extra_halflives_kimg": [2.0]}, "half-lives 2, 2 kimg repeat"),
        ({"ema_power": [0.05, 0.05]}, "0.05, 0.05 in ema_power repeat"),
        ({"ema_power": [0.3]}, "less than 0.288"),
    ],
)
def test_averages_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)
