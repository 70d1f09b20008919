"""The shared pieces do what their formulas say."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.backbones.shared.layers import sinusoidal_embedding, xavier_init, zero_init
from engine.backbones.unets.layers import GroupNorm, SelfAttention, group_count, resample

# Bound on fp32 rounding in short sums of numbers of order 1: some tens of roundings of at most 2^-24 each.
ROUNDING = 64 * 2.0**-24


@pytest.mark.parametrize("channels", [4, 8, 12, 16, 24, 36, 64, 96, 128, 192, 256, 384, 512, 1024])
def test_edms_group_rule_is_min_32_and_a_quarter_of_the_channels(channels):
    assert group_count(channels, 4) == min(32, channels // 4)


@pytest.mark.parametrize("channels", [64, 96, 128, 192, 256, 384, 512, 768, 960])
def test_iddpms_group_rule_is_32_at_every_published_width(channels):
    assert group_count(channels, 2) == 32


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (12, 6), (36, 18), (40, 20), (1, 1), (3, 1)])
def test_small_widths_get_the_largest_divisor_that_leaves_two_channels_a_group(channels, groups):
    assert group_count(channels, 2) == groups


def test_group_norm_of_bf16_is_the_fp32_norm_rounded_once():
    torch.manual_seed(0)
    x = (torch.randn(2, 8, 4, 4) + 100).bfloat16()
    norm = GroupNorm(8, min_channels=4, eps=1e-6)
    output = norm(x)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, F.group_norm(x.float(), 2, eps=1e-6).bfloat16())


def test_edms_embedding_has_sines_first_and_ends_at_frequency_1e_minus_4():
    c_noise = torch.tensor([0.5, -1.25])
    frequencies = torch.tensor([1.0, 1e-4 ** (1 / 3), 1e-4 ** (2 / 3), 1e-4])
    angles = c_noise[:, None] * frequencies
    embedding = sinusoidal_embedding(c_noise, 8, endpoint=True, sine_first=True)
    torch.testing.assert_close(embedding, torch.cat([angles.sin(), angles.cos()], 1), rtol=0, atol=ROUNDING)


def test_iddpms_embedding_has_cosines_first_and_stops_one_short_of_1e_minus_4():
    c_noise = torch.tensor([0.0, 3.0])
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001])
    angles = c_noise[:, None] * frequencies
    embedding = sinusoidal_embedding(c_noise, 8, endpoint=False, sine_first=False)
    torch.testing.assert_close(embedding, torch.cat([angles.cos(), angles.sin()], 1), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_equals_its_formula_head_by_head(heads):
    torch.manual_seed(0)
    attention = SelfAttention(8, heads, GroupNorm(8, min_channels=4, eps=1e-6))
    x = torch.randn(2, 8, 3, 3)
    query, key, value = attention.qkv(attention.norm(x)).flatten(2).chunk(3, dim=1)
    mixed = []
    for q, k, v in zip(query.chunk(heads, 1), key.chunk(heads, 1), value.chunk(heads, 1), strict=True):
        scores = q.transpose(1, 2) @ k / math.sqrt(8 // heads)
        mixed.append(v @ scores.softmax(-1).transpose(1, 2))
    expected = attention.proj(torch.cat(mixed, 1).reshape(x.shape))
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=ROUNDING)


def test_halving_takes_means_of_2x2_and_doubling_repeats():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resample(x, "halve").tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert torch.equal(resample(resample(x, "double"), "halve"), x)
    assert resample(x, "keep") is x


@pytest.mark.parametrize(("layer", "fans"), [(nn.Linear(40, 24), 64), (nn.Conv2d(10, 6, 3), 144)])
def test_xavier_weights_fill_their_interval_and_biases_are_zero(layer, fans):
    torch.manual_seed(0)
    limit = 0.5 * math.sqrt(6 / fans)
    weights = xavier_init(layer, 0.5).weight.abs()
    # The largest of n >= 540 uniform values is below 0.95 of the limit with probability 0.95^540 < 1e-12.
    assert 0.95 * limit < weights.max() <= limit
    assert layer.bias.count_nonzero() == 0


def test_zero_init_clears_weights_and_bias():
    layer = zero_init(nn.Linear(3, 2))
    assert layer.weight.count_nonzero() == layer.bias.count_nonzero() == 0
