"""ADM conditions, resamples, attends and starts as EDM's does."""

import math

import pytest
import torch
import torch.nn.functional as F

from engine.backbones.adm.config import Adm
from engine.backbones.adm.network import MIN_CHANNELS, AdmNet
from engine.backbones.flops import forward_cost
from engine.backbones.shape import NetShape
from engine.backbones.unet.network import ResidualBlock
from engine.backbones.unets.layout import Block, unet_layout

SMALL = Adm(
    channels=16,
    channel_mult=(1, 2),
    num_blocks=1,
    attention_resolutions=(4,),
    head_channels=8,
    class_conditional=True,
    label_dropout=0.1,
)
DIGITS = NetShape(resolution=8, in_channels=1, num_classes=5, augment_labels=9)


def small_net():
    torch.manual_seed(0)
    return AdmNet(SMALL, DIGITS).eval()


def adm_block(block):
    torch.manual_seed(0)
    return ResidualBlock(block, 32, 0.0, MIN_CHANNELS)


def waves_of(c_noise):
    angles = c_noise[:, None] * 1e-4 ** (torch.arange(8) / 8)
    return torch.cat([angles.cos(), angles.sin()], 1)


@pytest.mark.parametrize("resampling", ["keep", "halve", "double"])
def test_conditioning_is_group_norm_times_w_plus_1_plus_b_after_resampling_inside_the_block(resampling):
    block = adm_block(Block("residual", 8, 16, 4, resampling, heads=2, plain_skip=True))
    torch.nn.init.normal_(block.conv1.weight)
    torch.nn.init.normal_(block.attention.proj.weight)
    x, embedding = torch.randn(2, 8, 4, 4), torch.randn(2, 32)
    resized = {
        "keep": lambda image: image,
        "halve": lambda image: F.avg_pool2d(image, 2),
        "double": lambda image: image.repeat_interleave(2, 2).repeat_interleave(2, 3),
    }[resampling]
    h = block.conv0(resized(F.silu(F.group_norm(x, 2, eps=1e-5))))
    modulation = block.affine(embedding)
    w, b = modulation[:, :16, None, None], modulation[:, 16:, None, None]
    h = block.conv1(F.silu(F.group_norm(h, 4, eps=1e-5) * (w + 1) + b))
    mixed = block.skip(resized(x)) + h
    expected = mixed + block.attention(mixed)
    # fp32 rounding: sums of 144 terms, each some 1e-7 of the largest output.
    torch.testing.assert_close(
        block(x, embedding), expected, rtol=0, atol=144 * 2.0**-24 * expected.abs().max().item()
    )


@pytest.mark.parametrize(("resampling", "expected_side"), [("halve", 2), ("double", 8)])
def test_a_resampled_block_of_equal_channels_has_no_weights_on_its_skip(resampling, expected_side):
    block = adm_block(Block("residual", 8, 8, expected_side, resampling, plain_skip=True))
    x = torch.randn(2, 8, 4, 4)
    output = block(x, torch.randn(2, 32))
    assert not list(block.skip.parameters())
    # The branch starts at zero, so what is left is the resampled image itself.
    if resampling == "halve":
        assert torch.equal(output, F.avg_pool2d(x, 2))
    else:
        assert torch.equal(output, x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_attention_stands_in_all_blocks_of_its_resolutions_on_both_ways_and_first_in_the_middle():
    layout = unet_layout(Adm(), NetShape(resolution=64, in_channels=3, num_classes=1000))
    heads = {32: 6, 16: 9, 8: 12}
    for block in (*layout.encoder, *layout.decoder):
        attends = block.resampling == "keep" and block.resolution in (32, 16, 8)
        assert block.heads == (heads[block.resolution] if attends else 0)
    assert [block.heads for block in layout.middle] == [12, 0]


def test_the_class_joins_the_embedding_by_a_linear_layer_without_bias_and_no_class_adds_zeros():
    net = small_net()
    c_noise, label, augment = torch.tensor([0.3, -0.7]), torch.tensor([-1, 4]), torch.randn(2, 9)
    assert net.map_label.bias is None
    torch.nn.init.normal_(net.map_augment.weight)
    before = net.map1(F.silu(net.map0(waves_of(c_noise) + augment @ net.map_augment.weight.T)))
    expected = F.silu(before + torch.stack([torch.zeros(64), net.map_label.weight[:, 4]]))
    # fp32 rounding of three short matrix products of values of order 1.
    torch.testing.assert_close(net.embed(c_noise, label, augment), expected, rtol=0, atol=64 * 2.0**-24)


def test_augmentation_labels_start_by_adding_nothing():
    net = small_net()
    c_noise, label = torch.tensor([0.3, -0.7]), torch.tensor([2, 4])
    assert net.map_augment.bias is None
    assert torch.equal(net.embed(c_noise, label, torch.randn(2, 9)), net.embed(c_noise, label))


def test_weights_and_biases_start_uniform_on_root_one_over_fan_in():
    net = small_net()
    block = net.trunk.middle[0]
    for layer in (net.map0, net.map1, net.trunk.first, block.conv0, block.affine, block.attention.qkv):
        fan_in = layer.weight[0].numel()
        assert layer.weight.abs().max() <= fan_in**-0.5
        # Of n >= 144 uniform values the largest is below 0.9 of the limit with probability 0.9^144 < 1e-6.
        assert layer.weight.abs().max() > 0.9 * fan_in**-0.5
        # 16 biases or more: all below a tenth of the limit with probability 0.1^16.
        assert 0.1 * fan_in**-0.5 < layer.bias.abs().max() <= fan_in**-0.5


def test_label_weights_start_standard_normal():
    torch.manual_seed(0)
    weight = AdmNet(SMALL, NetShape(resolution=8, in_channels=1, num_classes=200)).map_label.weight
    # n = 12,800 normal values: mean and variance are within four standard errors, 1 / sqrt(n)
    # and sqrt(2 / n).
    assert abs(weight.mean().item()) < 4 / math.sqrt(weight.numel())
    assert abs(weight.var().item() - 1) < 4 * math.sqrt(2 / weight.numel())


def test_the_last_layer_of_every_branch_and_of_the_network_starts_at_zero():
    net = small_net()
    blocks = [module for module in net.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 1 + 1 + 1 + 2 + 2 + 1 + 2
    for layer in (net.last, *(block.conv1 for block in blocks), net.trunk.middle[0].attention.proj):
        assert layer.weight.count_nonzero() == 0
        assert layer.bias.count_nonzero() == 0
    output = net(torch.randn(3, 1, 8, 8), torch.zeros(3), torch.arange(3))
    assert output.shape == (3, 1, 8, 8)
    assert output.count_nonzero() == 0


def test_norms_leave_four_channels_a_group_and_have_eps_1e_minus_5():
    for module in small_net().modules():
        if isinstance(module, torch.nn.GroupNorm):
            assert module.num_groups == min(32, module.num_channels // 4)
            assert module.eps == 1e-5


def residual_parameters(before, after, *, attends=False):
    """Of one block of EDM's code, whose embedding has 128 features."""
    count = 2 * before + before * after * 9 + after + 128 * 2 * after + 2 * after
    count += 2 * after + after * after * 9 + after
    if before != after:
        count += before * after + after
    if attends:
        count += 2 * after + 3 * (after * after + after) + after * after + after
    return count


def test_another_shape_has_the_parameters_that_edms_code_gives_it():
    """Its constructor, on paper, for C = 32 with levels of 64 and 32 channels, attention wanted at both."""
    model = Adm(
        channels=32,
        channel_mult=(2, 1),
        num_blocks=1,
        attention_resolutions=(8, 4),
        class_conditional=True,
        first_width="first_level",
        narrow_attention="none",
    )
    shape = NetShape(resolution=8, in_channels=3, num_classes=4)
    expected = 32 * 128 + 128 + 128 * 128 + 128 + 4 * 128
    expected += 3 * 64 * 9 + 64  # the first convolution has the first level's channels
    expected += residual_parameters(64, 64, attends=True) + residual_parameters(64, 64)
    # Below 64 channels nothing attends, in the middle neither.
    expected += residual_parameters(64, 32) + 2 * residual_parameters(32, 32)
    expected += residual_parameters(32 + 32, 32) + residual_parameters(32 + 64, 32)
    expected += residual_parameters(32, 32)
    expected += residual_parameters(32 + 64, 64, attends=True)
    expected += residual_parameters(64 + 64, 64, attends=True)
    expected += 2 * 64 + 64 * 3 * 9 + 3
    net = model.build(shape)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected
    assert forward_cost(model, shape).params == expected
    assert net(torch.zeros(2, 3, 8, 8), torch.zeros(2), torch.tensor([0, 3])).shape == (2, 3, 8, 8)


def test_edms_own_shape_is_the_same_network_under_either_rule():
    shape = NetShape(resolution=64, in_channels=3, num_classes=1000)
    other = Adm(first_width="first_level", narrow_attention="none")
    assert unet_layout(other, shape) == unet_layout(Adm(), shape)
