"""Rules by which one value follows another."""

import pytest

from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.unet.config import UNet
from engine.config.experiment import Experiment
from engine.config.linked import LINKED_RULES
from engine.config.train import Train


def point(model, **train):
    """An experiment of which a rule sees only the network and the training."""
    settings = Train(**{"total_kimg": 1, "snapshot_kimg": 1, **train})
    return Experiment.model_construct(model=model, train=settings)


@pytest.mark.parametrize(("channels", "lr"), [(64, 1.41e-4), (96, 1.15e-4), (128, 1e-4), (192, 8.16e-5)])
def test_learning_rate_falls_with_the_root_of_the_channels_as_iddpms_table_says(channels, lr):
    anchor = point(UNet(channels=128), lr=1e-4)
    # The paper prints three digits.
    assert LINKED_RULES["lr_from_channels"](anchor, point(UNet(channels=channels))) == pytest.approx(
        lr, rel=5e-3
    )


@pytest.mark.parametrize(
    ("size", "ratio", "steps", "warmup"),
    [
        ((12, 384, 6), 0.5, 50_000, 0),
        ((12, 768, 12), 0.9, 100_000, 0),
        ((28, 1152, 16), 0.7, 150_000, 30_000),
        ((28, 1152, 16), 0.5, 200_000, 30_000),
    ],
)
def test_a_dydit_is_fine_tuned_and_warmed_up_as_long_as_table_6_says(size, ratio, steps, warmup):
    depth, width, heads = size
    tuned = point(DyDit(depth=depth, width=width, num_heads=heads, flops_ratio=ratio))
    assert LINKED_RULES["dydit_total_kimg"](tuned, tuned) == steps * 256 / 1000
    assert LINKED_RULES["dydit_complete_kimg"](tuned, tuned) == warmup * 256 / 1000


@pytest.mark.parametrize(
    ("ratio", "warmup", "ramp", "lr"), [(0.5, 30_000, 1_000, 1e-4), (0.7, 150_000, 5_000, 2.5e-5)]
)
def test_the_released_code_fine_tunes_xl_otherwise_at_a_budget_of_0_7(ratio, warmup, ramp, lr):
    tuned = point(DyDit(depth=28, width=1152, num_heads=16, flops_ratio=ratio))
    assert LINKED_RULES["dydit_complete_kimg_released"](tuned, tuned) == warmup * 256 / 1000
    assert LINKED_RULES["dydit_ramp_kimg_released"](tuned, tuned) == ramp * 256 / 1000
    assert LINKED_RULES["dydit_lr_released"](tuned, tuned) == lr


@pytest.mark.parametrize("rule", [name for name in LINKED_RULES if name.endswith("_released")])
@pytest.mark.parametrize(
    "model",
    [DyDit(depth=12, width=384, num_heads=6), DyDit(depth=28, width=1152, num_heads=16, flops_ratio=0.6)],
)
def test_the_released_code_says_nothing_of_other_sizes_and_budgets(rule, model):
    with pytest.raises(ValueError, match="DyDiT-XL at budgets of"):
        LINKED_RULES[rule](point(model), point(model))


@pytest.mark.parametrize("model", [Dit(), DyDit(depth=11), DyDit(depth=24, width=1024, num_heads=16), UNet()])
@pytest.mark.parametrize("rule", ["dydit_total_kimg", "dydit_complete_kimg"])
def test_table_6_says_nothing_of_other_networks(rule, model):
    with pytest.raises(ValueError, match=f"{rule} knows DyDiT's sizes S, B and XL"):
        LINKED_RULES[rule](point(model), point(model))


def test_a_learning_rate_cannot_follow_channels_that_are_not_there():
    with pytest.raises(ValueError, match="which dit has not"):
        LINKED_RULES["lr_from_channels"](point(UNet()), point(Dit()))
