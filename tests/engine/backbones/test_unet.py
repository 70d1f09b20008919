"""iDDPM's U-Net conditions, resamples and starts as its released code does."""

import pytest
import torch
import torch.nn.functional as F

from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.backbones.unet.network import ResamplingConv, ResidualBlock, UNetNet
from engine.backbones.unets.layout import Block

SMALL = UNet(
    channels=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), class_conditional=True
)


def small_net():
    torch.manual_seed(0)
    return UNetNet(SMALL, NetShape(resolution=8, in_channels=1, num_classes=5)).eval()


def test_conditioning_is_group_norm_times_w_plus_1_plus_b():
    torch.manual_seed(0)
    block = ResidualBlock(
        Block("residual", 8, 16, 4, heads=4), embedding_width=32, dropout=0.0, min_channels=2
    )
    torch.nn.init.normal_(block.conv1.weight)
    torch.nn.init.normal_(block.attention.proj.weight)
    x, embedding = torch.randn(2, 8, 4, 4), torch.randn(2, 32)
    h = block.conv0(F.silu(F.group_norm(x, 4, eps=1e-5)))
    modulation = block.affine(embedding)
    w, b = modulation[:, :16, None, None], modulation[:, 16:, None, None]
    h = block.conv1(F.silu(F.group_norm(h, 8, eps=1e-5) * (w + 1) + b))
    mixed = block.skip(x) + h
    expected = mixed + block.attention(mixed)
    # fp32 rounding: sums of 144 terms, each some 1e-7 of the largest output.
    torch.testing.assert_close(
        block(x, embedding), expected, rtol=0, atol=144 * 2.0**-24 * expected.abs().max().item()
    )


def test_a_fresh_residual_block_of_equal_widths_passes_its_input_on():
    block = ResidualBlock(
        Block("residual", 8, 8, 4, heads=4), embedding_width=32, dropout=0.0, min_channels=2
    )
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 32)), x)


def test_a_fresh_network_answers_exactly_zero():
    output = small_net()(torch.randn(3, 1, 8, 8), torch.tensor([0.0, 500.0, 999.0]), torch.arange(3))
    assert output.shape == (3, 1, 8, 8)
    assert output.count_nonzero() == 0


@pytest.mark.parametrize(("resampling", "side"), [("halve", 3), ("double", 12)])
def test_resampling_is_a_stride_2_convolution_or_repeated_pixels_and_a_convolution(resampling, side):
    block = ResamplingConv(Block("conv", 4, 4, side, resampling))
    x, (weight, bias) = torch.randn(1, 4, 6, 6), (block.conv.weight, block.conv.bias)
    if resampling == "halve":
        expected = F.conv2d(x, weight, bias, stride=2, padding=1)
    else:
        expected = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, bias, padding=1)
    assert torch.equal(block(x, torch.zeros(1, 1)), expected)
    assert expected.shape[-1] == side


def test_a_label_adds_its_row_to_the_noise_embedding():
    net = small_net()
    c_noise, label = torch.tensor([3.0, 700.0]), torch.tensor([4, 1])
    angles = c_noise[:, None] * 1e-4 ** (torch.arange(4) / 4)
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    expected = F.silu(net.map1(F.silu(net.map0(waves))) + net.map_label.weight[label])
    # Angles reach 700, so their fp32 rounding is 700 * 2^-23 in the waves; the layers' weights are below 1.
    torch.testing.assert_close(net.embed(c_noise, label), expected, rtol=0, atol=8 * 700 * 2.0**-23)


def test_no_label_has_a_row_of_its_own_and_augmentation_labels_start_by_adding_nothing():
    torch.manual_seed(0)
    config = SMALL.model_copy(update={"label_dropout": 0.1})
    net = UNetNet(config, NetShape(resolution=8, in_channels=1, num_classes=5, augment_labels=9)).eval()
    c_noise, label, augment = torch.zeros(2), torch.tensor([-1, 4]), torch.randn(2, 9)
    rows = net.map_label.weight
    assert rows.shape == (6, 32)
    angles = torch.zeros(2, 4)
    unlabelled = net.map1(F.silu(net.map0(torch.cat([angles.cos(), angles.sin()], 1))))
    # fp32 rounding of short matrix products of values of order 1.
    expected = F.silu(unlabelled + rows[[0, 5]])
    torch.testing.assert_close(net.embed(c_noise, label), expected, rtol=0, atol=64 * 2.0**-23)
    assert torch.equal(net.embed(c_noise, label, augment), net.embed(c_noise, label))
    torch.nn.init.normal_(net.map_augment.weight)
    expected = F.silu(unlabelled + rows[[0, 5]] + augment @ net.map_augment.weight.T)
    # fp32 rounding of a sum of nine products of order 1.
    torch.testing.assert_close(net.embed(c_noise, label, augment), expected, rtol=0, atol=64 * 2.0**-23)


@pytest.mark.parametrize(("channels", "groups"), [(32, [16, 32]), (64, [32, 32]), (96, [32, 32])])
def test_one_channel_a_group_makes_other_norms_below_64_channels_alone(
    channels: int, groups: list[int]
) -> None:
    found = []
    for fewest in (2, 1):
        model = UNet(channels=channels, channel_mult=(1,), num_blocks=1, min_group_channels=fewest)
        found.append(model.build(NetShape(resolution=8, in_channels=3, num_classes=5)).norm.num_groups)
    assert found == groups
