"""The networks have the sizes their papers and released code report."""

import pytest
import torch
from torch import nn

from engine.backbones.flops import forward_cost
from engine.backbones.registry import build_backbone
from engine.data.catalog import NUM_AUGMENT_LABELS
from engine.spec import DdpmPlusPlus, Model, UNet


def build_on_meta(
    model: Model,
    *,
    resolution: int,
    num_classes: int = 10,
    out_channels: int | None = None,
    augment_labels: int = 0,
) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build_backbone(
            model,
            resolution=resolution,
            in_channels=3,
            num_classes=num_classes,
            out_channels=out_channels,
            augment_labels=augment_labels,
        )


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("channel_mult", "resolution", "exact", "published_millions"),
    [((2, 2, 2), 32, 55_733_891, 55.73), ((1, 2, 2, 2), 64, 61_805_571, 61.8)],
)
def test_ddpmpp_has_edms_parameter_count(channel_mult, resolution, exact, published_millions):
    model = DdpmPlusPlus(channel_mult=channel_mult)
    parameters = count(build_on_meta(model, resolution=resolution, augment_labels=NUM_AUGMENT_LABELS))
    assert parameters == exact
    digits = len(str(published_millions).split(".")[1])
    assert round(parameters / 1e6, digits) == published_millions
    assert count(build_on_meta(model, resolution=resolution)) == exact - 1_152


def test_a_ddpmpp_label_input_is_one_linear_layer_from_classes_to_width():
    conditional = DdpmPlusPlus(class_conditional=True)
    added = count(build_on_meta(conditional, resolution=32)) - count(build_on_meta(DdpmPlusPlus(), resolution=32))
    assert added == 10 * 128 + 128


@pytest.mark.parametrize(
    ("channels", "exact", "published_millions"),
    [(64, 30_303_494, 30.30), (96, 68_126_598, 68.13), (128, 121_063_942, 121.06), (192, 272_281_350, 272.28)],
)
def test_unet_has_iddpms_imagenet64_parameter_count_with_learned_variance(channels, exact, published_millions):
    parameters = count(build_on_meta(UNet(channels=channels), resolution=64, out_channels=6))
    assert parameters == exact
    assert round(parameters / 1e6, 2) == published_millions


@pytest.mark.parametrize(("out_channels", "exact"), [(3, 52_542_979), (6, 52_546_438)])
def test_unet_has_iddpms_cifar10_parameter_count(out_channels, exact):
    model = UNet(channels=128, channel_mult=(1, 2, 2, 2))
    parameters = count(build_on_meta(model, resolution=32, out_channels=out_channels))
    assert parameters == exact
    assert round(parameters / 1e6, 1) == 52.5


def test_unet_at_128_channels_takes_iddpms_39_gmacs_on_imagenet64():
    macs = forward_cost(UNet(channels=128), resolution=64, in_channels=3, num_classes=1000, out_channels=6).macs
    assert macs // 10**9 == 39
    assert round(2 * macs / 1e9, 1) == 79.5


def test_a_unet_label_input_is_one_table_row_of_four_widths_a_class():
    conditional = build_on_meta(UNet(class_conditional=True), resolution=64, num_classes=1000)
    assert count(conditional) - count(build_on_meta(UNet(), resolution=64)) == 1000 * 4 * 128


@pytest.mark.parametrize(("model", "added"), [(DdpmPlusPlus, 0), (UNet, 4 * 128)])
def test_label_dropout_adds_a_table_row_to_the_unet_and_nothing_to_ddpmpp(model, added):
    never, sometimes = (
        build_on_meta(model(class_conditional=True, label_dropout=dropout), resolution=32) for dropout in (0.0, 0.1)
    )
    assert count(sometimes) - count(never) == added
