"""DiT is the published network: its initialisation,
positions, order of patches, attention, and every output."""

import math

import pytest
import torch
from torch import Tensor, nn

from engine.backbones.dit.config import Dit
from engine.backbones.dit.layout import dit_layout
from engine.backbones.dit.network import Attention, DitBlock, DitNet, positions, to_images, to_patches
from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import sinusoidal_embedding

LATENTS = NetShape(resolution=8, in_channels=4, num_classes=10)
SMALL = Dit(depth=2, width=24, num_heads=3, class_conditional=True, label_dropout=0.1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fresh(model: Dit = SMALL, shape: NetShape = LATENTS) -> DitNet:
    torch.manual_seed(0)
    return DitNet(model, shape).eval()


def trained_looking(model: Dit = SMALL, shape: NetShape = LATENTS) -> DitNet:
    """A network none of whose weights or biases is zero, as after training."""
    net = fresh(model, shape)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net


def blocks_of(net: DitNet) -> list[DitBlock]:
    return [block for block in net.blocks if isinstance(block, DitBlock)]


def explicit_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()


def test_every_block_is_the_identity_at_first_whatever_the_embedding() -> None:
    tokens, embedding = random(2, 16, 24), random(2, 24, seed=1)
    for block in blocks_of(fresh()):
        assert torch.equal(block(tokens, embedding), tokens)


def test_the_output_is_zero_at_first() -> None:
    output = fresh()(random(2, 4, 8, 8), torch.tensor([0.0, 500.0]), torch.tensor([3, -1]))
    assert torch.equal(output, torch.zeros(2, 4, 8, 8))


def test_initial_weights_are_normal_in_embeddings_zero_in_modulations_and_xavier_elsewhere() -> None:
    net = fresh(Dit(class_conditional=True, label_dropout=0.1), NetShape(32, 4, 1000))
    for name, parameter in net.named_parameters():
        if name.endswith("bias") or "modulation" in name or name.startswith("last"):
            assert parameter.count_nonzero() == 0, name
            continue
        # xavier: uniform on +-sqrt(6 / (in + out)), of standard deviation sqrt(2 / (in + out)).
        std = 0.02 if name.startswith("conditions") else math.sqrt(2 / sum(parameter.shape))
        # The standard deviation of n draws is off by 1 / sqrt(2 n) of it; six of these in 60 tensors.
        assert parameter.std().item() == pytest.approx(std, rel=6 / math.sqrt(2 * parameter.numel())), name
        assert name.startswith("conditions") == (parameter.abs().max().item() > math.sqrt(3) * 1.001 * std), (
            name
        )


def test_a_block_is_gated_attention_then_a_gated_mlp_of_shifted_and_scaled_norms() -> None:
    block, (x, embedding) = blocks_of(trained_looking())[0], (random(2, 16, 24), random(2, 24, seed=1))
    # In the released order: shift, scale, gate of attention, then of the MLP.
    shift0, scale0, gate0, shift1, scale1, gate1 = (
        block.modulation(embedding * embedding.sigmoid()).reshape(2, 6, 1, 24).unbind(1)
    )
    h = x + gate0 * block.attention(explicit_norm(x) * (1 + scale0) + shift0)
    wide = block.widen(explicit_norm(h) * (1 + scale1) + shift1)
    cubic = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    h = h + gate1 * block.narrow(0.5 * wide * (1 + cubic.tanh()))
    # Values of size 10 through 6 layers of rounding, each 6e-8 of them.
    assert torch.allclose(block(x, embedding), h, rtol=0, atol=10 * 6 * 6e-8 * 10)


def test_attention_is_the_softmax_of_scaled_products() -> None:
    attention, x = Attention(24, heads=3), random(2, 5, 24)
    query, key, value = attention.qkv(x).reshape(2, 5, 3, 3, 8).unbind(2)  # [B, N, H, d] each
    weights = (torch.einsum("bnhd,bmhd->bhnm", query, key) / math.sqrt(8)).softmax(dim=-1)
    mixed = torch.einsum("bhnm,bmhd->bnhd", weights, value).reshape(2, 5, 24)
    # Sums of 24 products of size 1, thrice, at 6e-8 each.
    assert torch.allclose(attention(x), attention.proj(mixed), rtol=0, atol=3 * 24 * 6e-8)


@pytest.mark.parametrize(("channels", "size"), [(1, 1), (1, 2), (3, 2), (4, 4), (3, 8)])
def test_images_are_patches_put_back(channels: int, size: int) -> None:
    x = random(2, channels, 8, 8)
    patches = to_patches(x, size)
    assert patches.shape == (2, (8 // size) ** 2, channels * size**2)
    # Channels stand first inside a patch of the input, as
    # in a convolution, and last inside one of the output.
    turned = patches.unflatten(-1, (channels, size * size)).transpose(-1, -2).flatten(-2)
    assert torch.equal(to_images(turned, size), x)


def test_patches_are_numbered_row_by_row() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 2:4, 6:8] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    patches = to_patches(x, 2)[0]
    assert patches.sum(1).nonzero().tolist() == [[1 * 4 + 3]]
    assert patches[7].tolist() == [1, 2, 3, 4]


def test_the_patch_layer_is_a_strided_convolution() -> None:
    net, x = fresh(), random(2, 4, 8, 8)
    assert net.patches.bias.count_nonzero() == 0
    convolved = (
        nn.functional.conv2d(x, net.patches.weight.reshape(24, 4, 2, 2), stride=2).flatten(2).transpose(1, 2)
    )
    # Sums of 16 products of size 1.
    assert torch.allclose(net.patches(to_patches(x, 2)), convolved, rtol=0, atol=16 * 6e-8)


def test_positions_are_sines_and_cosines_of_the_column_then_of_the_row() -> None:
    side, width = 5, 16
    table = positions(side, width)
    frequencies = [10_000 ** (-k / 4) for k in range(4)]
    for row in range(side):
        for column in range(side):
            expected = [
                wave(place * frequency)
                for place in (column, row)
                for wave in (math.sin, math.cos)
                for frequency in frequencies
            ]
            # Angles up to 4 in float32.
            assert table[row * side + column].tolist() == pytest.approx(expected, abs=4 * 1.2e-7)


def test_positions_are_fixed_and_no_part_of_the_weights() -> None:
    net = fresh()
    assert torch.equal(net.get_buffer("positions"), positions(4, 24))
    assert not any("positions" in name for name in net.state_dict())


def test_the_noise_embedding_is_two_layers_on_256_waves_cosines_first() -> None:
    conditions, c_noise = trained_looking().conditions, torch.tensor([0.0, 1.0, 999.0])
    frequencies = torch.tensor([10_000 ** (-k / 128) for k in range(128)])
    angles = c_noise[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    hidden = conditions.noise0(waves)
    expected = conditions.noise1(hidden * hidden.sigmoid())
    # Angles up to 999 are known to 3e-5 a bit; weights of 0.2 in sums of 128 and 24, squared and added: * 0.2
    # sqrt(128) and * 0.2 sqrt(24), about 2.3 and 1 of the error.
    _, noise = conditions(c_noise, torch.zeros(3, dtype=torch.long), None)
    assert torch.allclose(noise, expected, rtol=0, atol=4 * 3 * 3e-5)
    # The other order and the other last frequency are far off.
    other = conditions.noise0(sinusoidal_embedding(c_noise, 256, endpoint=True, sine_first=False))
    assert not torch.allclose(conditions.noise1(other * other.sigmoid()), expected, rtol=0, atol=1e-2)


def test_label_minus_one_is_the_first_row_and_a_class_the_row_after_its_number() -> None:
    conditions = trained_looking().conditions
    labels = torch.tensor([-1, 0, 9])
    embedding, noise = conditions(torch.zeros(3), labels, None)
    assert conditions.label is not None
    assert conditions.label.weight.shape == (11, 24)
    assert torch.equal(embedding, noise + conditions.label.weight[[0, 1, 10]])


def test_without_label_dropout_there_is_no_row_for_no_label() -> None:
    table = fresh(Dit(depth=1, width=24, num_heads=3, class_conditional=True)).conditions.label
    assert table is not None
    assert table.weight.shape == (10, 24)


def test_embeddings_stay_in_fp32_under_autocast() -> None:
    conditions, arguments = (
        trained_looking().conditions,
        (torch.tensor([1.0, 7.0]), torch.tensor([1, 2]), None),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding, noise = conditions(*arguments)
    assert torch.equal(embedding, conditions(*arguments)[0])
    assert embedding.dtype == noise.dtype == torch.float32


@pytest.mark.parametrize("patch_size", [1, 2, 4, 8])
@pytest.mark.parametrize("learned_variance", [False, True])
def test_any_patch_that_tiles_will_do_and_a_learned_variance_doubles_the_channels(
    patch_size: int, learned_variance: bool
) -> None:
    shape = NetShape(8, 4, 10, learned_variance=learned_variance)
    net = trained_looking(Dit(depth=1, width=24, num_heads=3, patch_size=patch_size), shape)
    assert net.layout.tokens == (8 // patch_size) ** 2
    assert net(random(3, 4, 8, 8), torch.zeros(3)).shape == (3, 8 if learned_variance else 4, 8, 8)


def test_a_patch_that_does_not_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="patches of 3 pixels do not tile an image of 8 a side"):
        DitNet(Dit(patch_size=3), LATENTS)


def test_a_width_that_does_not_suit_heads_and_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="width 100 is no multiple of 12"):
        DitNet(Dit(width=100, num_heads=6), LATENTS)


@pytest.mark.parametrize(
    ("width", "num_heads", "divisor", "divided"),
    [(384, 6, 8, 48), (384, 6, 7, 60), (1152, 16, 8, 144), (1024, 16, 100, 16), (384, 6, 1000, 12)],
)
def test_a_divided_width_is_rounded_up_to_suit(
    width: int, num_heads: int, divisor: int, divided: int
) -> None:
    model = Dit(width=width, num_heads=num_heads, width_divisor=divisor, depth=1)
    assert dit_layout(model, LATENTS).width == divided
    assert fresh(model)(random(1, 4, 8, 8), torch.zeros(1)).shape == (1, 4, 8, 8)


def copied_to_theirs(net: DitNet, theirs: nn.Module) -> None:
    """Give an independent DiT our weights; it keeps q, k, v
    apart, embeddings in every block, and "no label" last."""
    conditions, weights = net.conditions, {}

    def copy(name: str, weight: Tensor, bias: Tensor) -> None:
        weights.update({f"{name}.weight": weight, f"{name}.bias": bias})

    assert conditions.label is not None
    copy("pos_embed.proj", net.patches.weight.reshape(-1, 4, 2, 2), net.patches.bias)
    for number, block in enumerate(blocks_of(net)):
        at = f"transformer_blocks.{number}"
        for name, layer in (("linear_1", conditions.noise0), ("linear_2", conditions.noise1)):
            copy(f"{at}.norm1.emb.timestep_embedder.{name}", layer.weight, layer.bias)
        weights[f"{at}.norm1.emb.class_embedder.embedding_table.weight"] = conditions.label.weight.roll(-1, 0)
        copy(f"{at}.norm1.linear", block.modulation.weight, block.modulation.bias)
        qkv = block.attention.qkv
        for name, weight, bias in zip("qkv", qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True):
            copy(f"{at}.attn1.to_{name}", weight, bias)
        copy(f"{at}.attn1.to_out.0", block.attention.proj.weight, block.attention.proj.bias)
        copy(f"{at}.ff.net.0.proj", block.widen.weight, block.widen.bias)
        copy(f"{at}.ff.net.2", block.narrow.weight, block.narrow.bias)
    copy("proj_out_1", net.modulation.weight, net.modulation.bias)
    copy("proj_out_2", net.last.weight, net.last.bias)
    theirs.load_state_dict(weights)


@pytest.mark.parametrize("learned_variance", [False, True])
def test_every_output_is_that_of_an_independent_implementation(learned_variance: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    shape = NetShape(8, 4, 10, learned_variance=learned_variance)
    net = trained_looking(shape=shape)
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        out_channels=shape.out_channels,
        num_layers=2,
        sample_size=8,
        num_embeds_ada_norm=10,
        norm_eps=1e-6,
    ).eval()
    # Their table of positions is their own, and the same:
    # float64 rounded to float32, beside angles in float32.
    assert torch.allclose(theirs.pos_embed.pos_embed[0], positions(4, 24), rtol=0, atol=4e-7)
    copied_to_theirs(net, theirs)
    for block in theirs.transformer_blocks:
        # Their last frequency is 1 / 10000; the released code's next one would be.
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    x, timesteps, labels = (
        random(3, 4, 8, 8, seed=1),
        torch.tensor([0.0, 17.0, 30.0]),
        torch.tensor([0, 9, -1]),
    )
    with torch.no_grad():
        ours = net(x, timesteps, labels)
        expected = theirs(x, timesteps, class_labels=labels % 11).sample
    error = (ours - expected).norm() / expected.norm()
    # The longest way through has 2 blocks of about 24 roundings of 6e-8, which may all add up.
    assert error < 48 * 6e-8
