"""DDPM++ conditions, mixes and starts as EDM's does."""

import math

import torch
import torch.nn.functional as F

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.ddpmpp.network import DdpmPlusPlusNet, ResidualBlock
from engine.backbones.shape import NetShape
from engine.backbones.unets.layout import Block

SMALL = DdpmPlusPlus(
    channels=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), class_conditional=True
)


def small_net():
    torch.manual_seed(0)
    return DdpmPlusPlusNet(SMALL, NetShape(resolution=8, in_channels=1, num_classes=5)).eval()


def test_the_embedding_is_added_before_the_norm_and_both_sums_are_scaled_by_root_half():
    torch.manual_seed(0)
    block = ResidualBlock(Block("residual", 8, 16, 4, heads=1), embedding_width=32, dropout=0.0)
    torch.nn.init.normal_(block.conv1.weight)
    torch.nn.init.normal_(block.attention.proj.weight)
    x, embedding = torch.randn(2, 8, 4, 4), torch.randn(2, 32)
    h = block.conv0(F.silu(F.group_norm(x, 2, eps=1e-6)))
    shift = embedding @ block.affine.weight.T
    h = block.conv1(F.silu(F.group_norm(h + shift[:, :, None, None], 4, eps=1e-6)))
    mixed = (block.skip(x) + h) / math.sqrt(2)
    expected = (mixed + block.attention(mixed)) / math.sqrt(2)
    # fp32 rounding: sums of 144 terms, each some 1e-7 of the largest output.
    torch.testing.assert_close(
        block(x, embedding), expected, rtol=0, atol=144 * 2.0**-24 * expected.abs().max().item()
    )


def test_a_resampling_block_resamples_its_branch_and_its_skip():
    block = ResidualBlock(Block("residual", 8, 8, 2, "halve"), embedding_width=32, dropout=0.0)
    torch.nn.init.zeros_(block.conv1.weight)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(1, 32)), math.sqrt(0.5) * block.skip(F.avg_pool2d(x, 2)))


def test_a_label_adds_its_column_times_the_root_of_the_class_count():
    net = small_net()
    c_noise, label = torch.tensor([0.3, -0.7]), torch.tensor([4, 1])
    angles = c_noise[:, None] * 1e-4 ** (torch.arange(4) / 3)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    waves = waves + math.sqrt(5) * net.map_label.weight.T[label]
    expected = F.silu(net.map1(F.silu(net.map0(waves))))
    # fp32 rounding of two short matrix products of values of order 1.
    torch.testing.assert_close(net.embed(c_noise, label), expected, rtol=0, atol=64 * 2.0**-24)


def limit(layer):
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)
    return math.sqrt(6 / (fan_in + fan_out))


def test_branches_start_near_zero_and_attention_inputs_at_gain_root_fifth():
    net = small_net()
    block = net.trunk.middle[0]
    for layer, gain in [
        (block.conv0, 1.0),
        (block.conv1, 1e-5),
        (block.attention.qkv, math.sqrt(0.2)),
        (block.attention.proj, 1e-5),
        (net.last, 1e-5),
        (net.map0, 1.0),
    ]:
        largest = layer.weight.abs().max().item() / limit(layer)
        # Of n >= 72 uniform values the largest is below 0.7 of the limit with probability 0.7^72 < 1e-11.
        assert 0.7 * gain < largest <= gain * (1 + 2.0**-22)
        assert layer.bias.count_nonzero() == 0


def test_a_fresh_network_answers_almost_zero():
    net = small_net()
    with torch.no_grad():
        output = net(torch.randn(4, 1, 8, 8), torch.zeros(4), torch.arange(4))
    # The last layer sums 9 * 8 normalised features, each at most sqrt(4 * 64)
    # (one spike in a group of 256 values).
    bound = 9 * 8 * math.sqrt(4 * 64) * 1e-5 * limit(net.last)
    assert 0 < output.abs().max() < bound


def test_augmentation_labels_add_their_columns_before_the_layers_and_no_label_adds_the_bias_alone():
    torch.manual_seed(0)
    config = SMALL.model_copy(update={"label_dropout": 0.1})
    net = DdpmPlusPlusNet(
        config, NetShape(resolution=8, in_channels=1, num_classes=5, augment_labels=9)
    ).eval()
    torch.nn.init.normal_(net.map_label.bias)
    c_noise, label, augment = torch.tensor([0.3, -0.7]), torch.tensor([-1, 1]), torch.randn(2, 9)
    angles = c_noise[:, None] * 1e-4 ** (torch.arange(4) / 3)
    waves = torch.cat([angles.sin(), angles.cos()], 1) + net.map_label.bias
    waves[1] += math.sqrt(5) * net.map_label.weight[:, 1]
    waves = waves + augment @ net.map_augment.weight.T
    expected = F.silu(net.map1(F.silu(net.map0(waves))))
    # fp32 rounding of three short matrix products of values of order 1.
    torch.testing.assert_close(net.embed(c_noise, label, augment), expected, rtol=0, atol=64 * 2.0**-24)
    assert 0.7 * limit(net.map_augment) < net.map_augment.weight.abs().max() <= limit(net.map_augment)
