"""Learning-rate ramp, moving average and batches against their formulas."""

import pytest
import torch
from torch import nn

from engine.config.experiment import Data, Experiment
from engine.config.train import AdaptiveClip, Train
from engine.data.datasets import ImageSet
from engine.training.batches import epoch_order, image_indices, make_batch
from engine.training.ema import Ema, ema_decay
from engine.training.optim import (
    build_optimizer,
    learning_rate,
    optimizer_step,
    optimizer_tensors,
    restore_optimizer,
)


def settings(**changes: object) -> Train:
    return Train.model_validate({"total_kimg": 200_000.0, "snapshot_kimg": 2_500.0, **changes})


def with_flips(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"data": Data(name="digits", x_flip=True)})


def test_learning_rate_ramps_linearly_from_zero_by_images_shown_before_the_step() -> None:
    train = settings(lr=1e-3, lr_rampup_kimg=10_000.0)
    assert learning_rate(train, 0) == 0
    assert learning_rate(train, 2_500_000) == pytest.approx(2.5e-4)
    assert learning_rate(train, 10_000_000) == learning_rate(train, 50_000_000) == 1e-3


@pytest.mark.parametrize("kimg", [0.0, 10_000.0])
@pytest.mark.parametrize("images_shown", [0, 1, 512, 2_500_000, 10_000_000])
def test_a_first_step_of_rate_zero_is_edms_expression_with_and_without_a_ramp(
    kimg: float, images_shown: int
) -> None:
    train = settings(lr=1e-3, lr_rampup_kimg=kimg, lr_first_step="zero")
    theirs = 1e-3 * min(images_shown / max(kimg * 1000, 1e-8), 1)
    assert learning_rate(train, images_shown) == pytest.approx(theirs, rel=1e-15)


def test_without_a_ramp_the_first_step_has_the_whole_rate_as_in_p1_and_dit() -> None:
    assert learning_rate(settings(lr=1e-3, lr_rampup_kimg=0.0), 0) == 1e-3


def test_learning_rate_decays_by_the_inverse_root_after_its_reference() -> None:
    train = settings(lr=1e-2, lr_rampup_kimg=10.0, lr_decay="inverse_sqrt", lr_decay_kimg=70.0)
    assert learning_rate(train, 5_000) == pytest.approx(5e-3)
    assert learning_rate(train, 70_000) == 1e-2
    assert learning_rate(train, 280_000) == pytest.approx(5e-3)
    assert learning_rate(train, 7_000_000) == pytest.approx(1e-3)


@pytest.mark.parametrize(("decay", "quarter"), [("linear", 0.75), ("cosine", 0.5 + 0.5**1.5)])
def test_learning_rate_falls_to_zero_at_the_end_from_the_ramps_end(decay: str, quarter: float) -> None:
    train = settings(
        batch_size=100, total_kimg=50.0, snapshot_kimg=10.0, lr=1.0, lr_rampup_kimg=10.0, lr_decay=decay
    )
    assert learning_rate(train, 5_000) == pytest.approx(0.5)
    assert learning_rate(train, 10_000) == 1
    assert learning_rate(train, 20_000) == pytest.approx(quarter)
    assert learning_rate(train, 30_000) == pytest.approx(0.5)
    assert learning_rate(train, 50_000) == pytest.approx(0, abs=1e-15)


def test_adam_and_adamw_are_built_with_their_settings() -> None:
    plain = build_optimizer(nn.Linear(2, 2).parameters(), settings())
    assert (type(plain), plain.defaults["betas"], plain.defaults["eps"]) == (
        torch.optim.Adam,
        (0.9, 0.999),
        1e-8,
    )
    changes = {"optimizer": "adamw", "weight_decay": 0.1, "adam_betas": [0.8, 0.99], "adam_eps": 1e-6}
    decayed = build_optimizer(nn.Linear(2, 2).parameters(), settings(**changes))
    assert (type(decayed), decayed.defaults["betas"]) == (torch.optim.AdamW, (0.8, 0.99))
    assert (decayed.defaults["weight_decay"], decayed.defaults["eps"]) == (0.1, 1e-6)
    assert plain.defaults["fused"]
    assert decayed.defaults["fused"]


def test_adamw_shrinks_weights_by_rate_times_decay_where_there_is_no_gradient() -> None:
    train = settings(optimizer="adamw", weight_decay=0.1, lr=0.5, lr_rampup_kimg=0.0)
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.zeros(3)
    optimizer_step(build_optimizer([weight], train), [weight], train, 0)
    assert weight.tolist() == pytest.approx([0.95] * 3)


def test_a_step_clips_before_it_updates_and_reports_the_norm() -> None:
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 3.0)
    train = settings(grad_clip={"kind": "global_norm", "max_norm": 1.0})
    norm = optimizer_step(build_optimizer([weight], train), [weight], train, 0)
    assert float(norm) == 6
    assert float(weight.grad.norm()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_decay": 0.1}, "weight_decay belongs to optimizer: adamw"),
        ({"lr_decay": "inverse_sqrt"}, "lr_decay_kimg need each other"),
        ({"lr_decay_kimg": 5.0}, "lr_decay_kimg need each other"),
        ({"lr_decay": "cosine", "lr_rampup_kimg": 200_000.0}, "shorter than total_kimg"),
        ({"adam_betas": [0.9, 1.0]}, "less than 1"),
        ({"grad_clip": {"kind": "value", "max_norm": 1.0}}, "max_value"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_settings_survive_json() -> None:
    changes = {"grad_clip": {"kind": "adaptive"}, "adam_betas": [0.9, 0.99], "ema_power": [0.05, 0.1]}
    train = settings(**changes)
    assert Train.model_validate_json(train.model_dump_json()) == train
    assert train.grad_clip == AdaptiveClip(ratio=0.01, eps=1e-3)


def test_ema_decays_match_the_published_ones() -> None:
    # EDM: batch 512 with 0.5 Mimg and batch 4096 with 50 Mimg, after the ramp.
    assert ema_decay(settings(batch_size=512, ema_halflife_kimg=500.0), 10**8) == pytest.approx(
        0.99929, abs=5e-6
    )
    assert ema_decay(settings(batch_size=4096, ema_halflife_kimg=50_000.0), 10**10) == pytest.approx(
        0.999943, abs=5e-7
    )
    # iDDPM's 0.9999 at batch 128 is a half-life of 887 kimg.
    assert ema_decay(settings(batch_size=128, ema_halflife_kimg=887.0), 10**9) == pytest.approx(
        0.9999, abs=5e-7
    )


def test_ema_copies_the_weights_on_the_first_step_and_ramps_after_it() -> None:
    train = settings(batch_size=512, ema_halflife_kimg=500.0)
    assert ema_decay(train, 0) == 0
    # At 1 Mimg the half-life is 5 % of it: 50 kimg.
    assert ema_decay(train, 1_000_000) == pytest.approx(0.5 ** (512 / 50_000))
    assert ema_decay(settings(batch_size=512, ema_rampup_ratio=None), 0) == pytest.approx(
        0.5 ** (512 / 500_000)
    )


def test_a_gap_between_average_and_weights_halves_in_one_half_life() -> None:
    net = nn.Linear(1, 1, bias=False)
    ema, train = Ema(net), settings(batch_size=100, ema_halflife_kimg=1.0, ema_rampup_ratio=None)
    start = float(ema.net.weight)
    with torch.no_grad():
        net.weight.add_(1.0)
    for _ in range(10):
        ema.update(net, ema_decay(train, 0))
    assert float(ema.net.weight) - start == pytest.approx(0.5, abs=1e-6)


def test_buffers_are_copied_not_averaged() -> None:
    net = nn.BatchNorm1d(2)
    ema = Ema(net)
    net.running_mean.fill_(3.0)
    ema.update(net, 0.9)
    assert torch.equal(ema.net.running_mean, net.running_mean)


def test_optimizer_state_survives_a_round_trip() -> None:
    def trained() -> tuple[nn.Linear, torch.optim.Adam]:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer = build_optimizer(net.parameters(), settings())
        for _ in range(3):
            net(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
        return net, optimizer

    _, optimizer = trained()
    fresh = build_optimizer(nn.Linear(3, 2).parameters(), settings())
    restore_optimizer(fresh, optimizer_tensors(optimizer))
    for name, tensor in optimizer_tensors(optimizer).items():
        assert torch.equal(optimizer_tensors(fresh)[name], tensor)


def test_every_epoch_shows_each_image_once_in_a_new_order() -> None:
    first = image_indices(0, 10, torch.arange(10))
    second = image_indices(0, 10, torch.arange(10, 20))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)
    assert torch.equal(image_indices(0, 10, torch.tensor([12, 3])), torch.stack([second[2], first[3]]))
    assert not torch.equal(epoch_order(0, 100, 0), epoch_order(1, 100, 0))


def test_a_batch_does_not_depend_on_how_it_is_shared(tiny: Experiment, digits: ImageSet) -> None:
    mirrored, device = with_flips(tiny), torch.device("cpu")
    whole = make_batch(digits, mirrored, torch.arange(1790, 1806), device)
    parts = [make_batch(digits, mirrored, torch.arange(a, a + 8), device) for a in (1790, 1798)]
    for name in ("x0", "uniform", "eps"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


def test_flips_mirror_about_half_of_the_images(tiny: Experiment, digits: ImageSet) -> None:
    positions, device = torch.arange(1000), torch.device("cpu")
    plain = make_batch(digits, tiny, positions, device).x0
    flipped = make_batch(digits, with_flips(tiny), positions, device).x0
    changed = (plain != flipped).flatten(1).any(1)
    assert torch.equal(flipped[changed], plain[changed].flip(-1))
    # Five standard deviations of a binomial; a few digits are symmetric and show no change.
    assert 500 - 80 - 10 < int(changed.sum()) < 500 + 80
