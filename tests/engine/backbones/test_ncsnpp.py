"""NCSN++ hears the noise level, resamples and joins the image as EDM's does; the rest is DDPM++."""

import math

import pytest
import torch
import torch.nn.functional as F

from engine.backbones.ddpmpp.network import DdpmPlusPlusNet, ResidualBlock
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.ncsnpp.network import NcsnPlusPlusNet, SmoothHalving, smooth_resample
from engine.backbones.shape import NetShape
from engine.backbones.unets.layout import Block
from engine.training.ema import Ema

SMALL = NcsnPlusPlus(channels=8, channel_mult=(1, 2, 2), num_blocks=1, attention_resolutions=(4,))
SHAPE = NetShape(resolution=8, in_channels=3, num_classes=5, augment_labels=9)
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def small_net(seed=0, **changes):
    torch.manual_seed(seed)
    return NcsnPlusPlusNet(SMALL.model_copy(update=changes), SHAPE).eval()


def test_halving_weighs_four_pixels_by_1_3_3_1_and_sees_zeros_beyond_the_edge():
    line = torch.tensor([8.0, 16.0, 24.0, 32.0])
    # 0 8 16 24 and 16 24 32 0, by 1 3 3 1, over 8.
    halved = torch.tensor([12.0, 23.0])
    assert torch.equal(
        smooth_resample(torch.outer(line, line)[None, None], "halve")[0, 0], torch.outer(halved, halved)
    )


def test_doubling_weighs_the_two_nearest_pixels_by_3_and_1_and_sees_zeros_beyond_the_edge():
    line = torch.tensor([4.0, 8.0])
    # (3 near + 1 far) / 4, far being 0 beyond the edge.
    doubled = torch.tensor([3.0, 5.0, 7.0, 6.0])
    assert torch.equal(
        smooth_resample(torch.outer(line, line)[None, None], "double")[0, 0], torch.outer(doubled, doubled)
    )


@pytest.mark.parametrize("resampling", ["halve", "double"])
def test_channels_are_resampled_apart_and_a_constant_image_keeps_its_inside(resampling):
    x = torch.tensor([1.0, -2.0, 5.0])[None, :, None, None].expand(2, 3, 8, 8)
    inside = smooth_resample(x, resampling)[..., 1:-1, 1:-1]
    assert torch.equal(inside, x[..., :1, :1].expand_as(inside))


def test_kept_images_are_the_same_tensor():
    x = torch.randn(1, 2, 4, 4)
    assert smooth_resample(x, "keep") is x


@pytest.mark.parametrize("resampling", ["halve", "double"])
def test_a_resampling_block_smooths_its_branch_and_its_skip_and_adds_the_embedding_before_the_norm(
    resampling,
):
    torch.manual_seed(0)
    block = ResidualBlock(Block("residual", 8, 8, 4, resampling), 32, 0.0, resample=smooth_resample)
    torch.nn.init.normal_(block.conv1.weight)
    x, embedding = torch.randn(2, 8, 4, 4), torch.randn(2, 32)
    h = block.conv0(smooth_resample(F.silu(F.group_norm(x, 2, eps=1e-6)), resampling))
    h = block.conv1(
        F.silu(F.group_norm(h + (embedding @ block.affine.weight.T)[:, :, None, None], 2, eps=1e-6))
    )
    expected = (block.skip(smooth_resample(x, resampling)) + h) / math.sqrt(2)
    # fp32 rounding: sums of 72 terms, each some 1e-7 of the largest output.
    torch.testing.assert_close(
        block(x, embedding), expected, rtol=0, atol=72 * 2.0**-24 * expected.abs().max().item()
    )


def test_every_resampling_of_the_network_is_smooth():
    blocks = [module for module in small_net().modules() if isinstance(module, ResidualBlock)]
    assert {block.resample for block in blocks} == {smooth_resample}
    assert (
        sorted(block.resampling for block in blocks if block.resampling != "keep")
        == ["double"] * 2 + ["halve"] * 2
    )


def test_the_image_path_convolves_at_full_resolution_and_then_smooths_by_halves():
    torch.manual_seed(0)
    step = SmoothHalving(Block("residual", 8, 8, 4, "halve", image_channels=3)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    # EDM's order: 3x3 convolution, filter at every second pixel, bias; with as much padding as both need.
    convolved = F.conv2d(x, step.conv.weight, padding=2)
    filters = torch.outer(TAPS, TAPS).double().expand(8, 1, 4, 4)
    expected = F.conv2d(convolved, filters, stride=2, groups=8) + step.conv.bias[:, None, None]
    # The same sums of 27 * 16 products in another order, in fp64.
    torch.testing.assert_close(step(x), expected, rtol=0, atol=432 * 2.0**-53 * expected.abs().max().item())


def test_each_halved_level_joins_the_image_and_the_sum_is_the_skip_and_the_next_levels_image():
    net = small_net()
    trunk, image, embedding = net.trunk, torch.randn(2, 3, 8, 8), torch.randn(2, 32)
    with torch.no_grad():
        skips = trunk.encode(image, embedding)
        h0 = trunk.first(image)
        h1 = trunk.encoder[0](h0, embedding)
        sum1 = math.sqrt(0.5) * (trunk.encoder[1](h1, embedding) + trunk.image_path[0](image))
        h2 = trunk.encoder[2](sum1, embedding)
        sum2 = math.sqrt(0.5) * (trunk.encoder[3](h2, embedding) + trunk.image_path[1](sum1))
        expected = [h0, h1, sum1, h2, sum2, trunk.encoder[4](sum2, embedding)]
    assert len(skips) == len(expected)
    assert all(torch.equal(skip, other) for skip, other in zip(skips, expected, strict=True))
    channels = [(step.conv.in_channels, step.conv.out_channels) for step in trunk.image_path]
    assert channels == [(3, 8), (8, 16)]


def test_the_embedding_starts_from_sines_and_cosines_of_2_pi_f_c_noise():
    net = small_net(class_conditional=True)
    c_noise, label, augment = torch.tensor([0.25, -0.5]), torch.tensor([4, 1]), torch.randn(2, 9)
    angles = 2 * math.pi * c_noise[:, None] * net.frequencies
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    assert waves.shape == (2, 16)
    # Angles reach 2 pi * 0.5 * 16 * 3 < 200, so their fp32 rounding is 200 * 2^-23 in the waves.
    torch.testing.assert_close(net.waves(c_noise), waves, rtol=0, atol=200 * 2.0**-23)
    waves = (
        net.waves(c_noise) + math.sqrt(5) * net.map_label.weight.T[label] + augment @ net.map_augment.weight.T
    )
    expected = F.silu(net.map1(F.silu(net.map0(waves))))
    # fp32 rounding of three short matrix products of values of order 1.
    torch.testing.assert_close(net.embed(c_noise, label, augment), expected, rtol=0, atol=64 * 2.0**-24)


def test_frequencies_are_normal_with_standard_deviation_16():
    torch.manual_seed(0)
    frequencies = NcsnPlusPlusNet(
        NcsnPlusPlus(channels=256, channel_mult=(1,), num_blocks=1), SHAPE
    ).frequencies
    assert frequencies.shape == (256,)
    # n = 256 values: mean and variance are within four standard errors, 1 / sqrt(n)
    # and sqrt(2 / n) of unit ones.
    assert abs(frequencies.mean().item() / 16) < 4 / math.sqrt(256)
    assert abs(frequencies.var().item() / 16**2 - 1) < 4 * math.sqrt(2 / 256)


def test_frequencies_are_kept_with_the_weights_and_the_same_in_an_average():
    source, target = small_net(0), small_net(1)
    assert not torch.equal(source.frequencies, target.frequencies)
    average = Ema(source)
    average.update(target, decay=0.5)
    assert torch.equal(average.net.frequencies, target.frequencies)
    target.load_state_dict(source.state_dict())
    assert torch.equal(source.frequencies, target.frequencies)
    assert "frequencies" not in dict(source.named_parameters())


def test_waves_are_fp32_under_autocast():
    net = small_net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.waves(torch.tensor([0.3], dtype=torch.bfloat16)).dtype == torch.float32


def test_fresh_branches_and_outputs_are_almost_zero_as_in_ddpmpp():
    net = small_net()
    limit = math.sqrt(6 / (9 * 8 + 9 * 3))
    assert isinstance(net, DdpmPlusPlusNet)
    assert 0 < net.last.weight.abs().max() <= 1e-5 * limit * (1 + 2.0**-22)


def test_its_parameters_are_ddpmpps_and_those_of_features_and_image_path():
    shape = NetShape(resolution=32, in_channels=3, num_classes=10, augment_labels=9)
    with torch.device("meta"):
        net = NcsnPlusPlus().build(shape)
    wider_features, wider_augmentation = 128 * 512, 9 * 128
    image_path = (9 * 3 * 256 + 256) + (9 * 256 * 256 + 256)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert parameters == 55_733_891 + wider_features + wider_augmentation + image_path == 56_397_827
