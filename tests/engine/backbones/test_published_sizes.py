"""The networks have the sizes their papers and released code report, and are known by their names."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from engine.backbones.adm.config import Adm
from engine.backbones.base import Published
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.flops import forward_cost
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.published import all_published, published
from engine.backbones.registry import Model
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet

EXACT = {
    "iDDPM ImageNet-64, C = 64": 30_303_494,
    "iDDPM ImageNet-64, C = 96": 68_126_598,
    "iDDPM ImageNet-64, C = 128": 121_063_942,
    "iDDPM ImageNet-64, C = 192": 272_281_350,
    "iDDPM ImageNet-64 in five stages, C = 64": 43_559_686,
    "iDDPM ImageNet-64 in five stages, C = 96": 97_939_590,
    "iDDPM ImageNet-64 in five stages, C = 128": 174_052_870,
    "iDDPM ImageNet-64 in five stages, C = 192": 391_479_558,
    "iDDPM CIFAR-10": 52_542_979,
    "DDPM++": 55_733_891,
    "DDPM++ with four levels": 61_805_571,
    "NCSN++": 56_397_827,
    "ADM": 295_899_267,
    "DiT-S/2": 32_865_056,
    "DiT-B/2": 130_315_808,
    "DiT-L/2": 457_840_672,
    "DiT-XL/2": 674_834_720,
}
"""Parameters of every network whose count is published, for the images it was published for."""


def build_on_meta(model: Model, *, num_classes: int = 10, **shape: Any) -> nn.Module:
    """The network for images of three colours, without memory for its weights."""
    with torch.device("meta"):
        return model.build(NetShape(in_channels=3, num_classes=num_classes, **shape))


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_every_published_count_is_tested_and_no_name_stands_twice():
    names = [entry.name for entry in all_published()]
    assert len(set(names)) == len(names)
    assert {entry.name for entry in all_published() if entry.millions is not None} == set(EXACT)


@pytest.mark.parametrize("entry", all_published(), ids=lambda entry: entry.name)
def test_the_network_has_the_parameters_counted_on_paper_and_published(entry: Published):
    with torch.device("meta"):
        parameters = count(entry.model.build(entry.shape))
    assert parameters == forward_cost(entry.model, entry.shape).params
    if entry.millions is not None:
        assert parameters == EXACT[entry.name]
        digits = len(str(entry.millions).split(".")[1]) if isinstance(entry.millions, float) else 0
        assert round(parameters / 1e6, digits) == entry.millions


@pytest.mark.parametrize("entry", all_published(), ids=lambda entry: entry.name)
def test_a_published_configuration_is_known_whatever_its_dropout_and_labels(entry: Published):
    other = {"dropout": 0.37, "class_conditional": not entry.model.class_conditional, "label_dropout": 0.2}
    assert published(entry.model) == entry
    assert published(entry.model.model_copy(update=other)) == entry


def test_a_dydits_budget_does_not_change_its_name():
    model = DyDit(depth=28, width=1152, num_heads=16, flops_ratio=0.7, ramp_kimg=1280.0, complete_kimg=100.0)
    assert published(model).name == "DyDiT-XL/2"


@pytest.mark.parametrize(
    "model",
    [
        DdpmPlusPlus(channels=64),
        DdpmPlusPlus(width_divisor=8),
        NcsnPlusPlus(num_blocks=(4, 8, 4)),
        Adm(head_channels=32),
        UNet(attention_resolutions=(16,)),
        UNet(num_heads=8),
        Dit(patch_size=4),
        DyDit(routes=("tokens",)),
    ],
)
def test_another_network_has_no_name(model: Model):
    assert published(model) is None


def test_the_five_stage_reading_says_why_it_is_not_the_default():
    five = published(UNet(channels=96, channel_mult=(1, 2, 3, 4, 4)))
    assert five.name == "iDDPM ImageNet-64 in five stages, C = 96"
    assert "released code has four levels" in five.note
    assert "Four levels" in published(UNet(channels=96)).note


def test_naming_a_network_imports_no_torch():
    code = "import sys, engine.backbones.published; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ddpmpps_count_includes_its_nine_augmentation_labels():
    assert count(build_on_meta(DdpmPlusPlus(), resolution=32)) == 55_733_891 - 9 * 128


def test_the_capacity_of_the_4x4_level_moved_to_16x16_takes_6_per_cent_fewer_parameters_and_more_work():
    shape = NetShape(resolution=32, in_channels=3, num_classes=10)
    lowest = forward_cost(DdpmPlusPlus(channel_mult=(1, 2, 2, 2), num_blocks=4), shape)
    middle = forward_cost(DdpmPlusPlus(channel_mult=(1, 2, 2), num_blocks=(4, 8, 4)), shape)
    assert (lowest.params, middle.params) == (61_804_419, 58_068_355)
    # The nine residual blocks of 4x4 work at 16x16 now; two resampling blocks are gone.
    assert (lowest.macs, middle.macs) == (10_846_535_680, 14_203_551_744)


def test_a_ddpmpp_label_input_is_one_linear_layer_from_classes_to_width():
    conditional = DdpmPlusPlus(class_conditional=True)
    added = count(build_on_meta(conditional, resolution=32)) - count(
        build_on_meta(DdpmPlusPlus(), resolution=32)
    )
    assert added == 10 * 128 + 128


def test_learned_variance_adds_three_output_channels():
    model = UNet(channel_mult=(1, 2, 2, 2))
    assert count(build_on_meta(model, resolution=32, learned_variance=True)) == 52_542_979 + 9 * 128 * 3 + 3


def test_unet_at_128_channels_takes_iddpms_39_gmacs_on_imagenet64():
    shape = NetShape(resolution=64, in_channels=3, num_classes=1000, learned_variance=True)
    macs = forward_cost(UNet(channels=128), shape).macs
    assert macs // 10**9 == 39
    assert round(2 * macs / 1e9, 1) == 79.5


def test_a_unet_label_input_is_one_table_row_of_four_widths_a_class():
    conditional = build_on_meta(UNet(class_conditional=True), resolution=64, num_classes=1000)
    assert count(conditional) - count(build_on_meta(UNet(), resolution=64)) == 1000 * 4 * 128


def test_an_adm_label_input_is_one_linear_layer_without_bias_from_classes_to_four_widths():
    conditional = build_on_meta(Adm(class_conditional=True), resolution=64, num_classes=1000)
    assert count(conditional) - count(build_on_meta(Adm(), resolution=64)) == 1000 * 4 * 192


@pytest.mark.parametrize(
    ("model", "added"), [(DdpmPlusPlus, 0), (NcsnPlusPlus, 0), (Adm, 0), (UNet, 4 * 128)]
)
def test_label_dropout_adds_a_table_row_to_iddpms_unet_and_nothing_to_edms_nets(model, added):
    never, sometimes = (
        build_on_meta(model(class_conditional=True, label_dropout=dropout), resolution=32)
        for dropout in (0.0, 0.1)
    )
    assert count(sometimes) - count(never) == added
