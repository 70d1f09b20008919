"""DINOv2 with random weights: against torchvision's transformer, and its resampling against closed forms."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models.vision_transformer import VisionTransformer

from engine.metrics.dinov2 import MEAN, STD, Dinov2, load_dinov2, preprocess
from engine.metrics.extractors.kinds.dinov2 import DINOV2, WEIGHTS
from engine.metrics.extractors.weights import WeightsNotFound

PUBLISHED_PARAMETERS = 304_368_640
"""Of DINOv2 ViT-L/14: the 304 M of its model card; its file of 1,217,586,395 bytes is four bytes each and a
table of names."""


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bytes_of(count: int, channels: int, size: int) -> torch.Tensor:
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def small(grid: int = 16) -> Dinov2:
    """Two blocks of four heads, every parameter random."""
    net = Dinov2(width=32, depth=2, heads=4, grid=grid).eval().requires_grad_(False)
    for number, parameter in enumerate(net.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=number) * 0.2)
    return net


def torchvisions(net: Dinov2) -> VisionTransformer:
    """torchvision's transformer with the same function.
    It has no layer scale, so that is multiplied into the linear map before it."""
    theirs = VisionTransformer(
        image_size=224, patch_size=14, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=128, num_classes=7
    ).eval()
    theirs.heads = torch.nn.Identity()
    state = {
        "class_token": net.cls_token,
        "encoder.pos_embedding": net.pos_embed,
        "conv_proj.weight": net.patch_embed.proj.weight,
        "conv_proj.bias": net.patch_embed.proj.bias,
        "encoder.ln.weight": net.norm.weight,
        "encoder.ln.bias": net.norm.bias,
    }
    for number, block in enumerate(net.blocks):
        at = f"encoder.layers.encoder_layer_{number}"
        state |= {
            f"{at}.ln_1.weight": block.norm1.weight,
            f"{at}.ln_1.bias": block.norm1.bias,
            f"{at}.self_attention.in_proj_weight": block.attn.qkv.weight,
            f"{at}.self_attention.in_proj_bias": block.attn.qkv.bias,
            f"{at}.self_attention.out_proj.weight": block.attn.proj.weight * block.ls1.gamma[:, None],
            f"{at}.self_attention.out_proj.bias": block.attn.proj.bias * block.ls1.gamma,
            f"{at}.ln_2.weight": block.norm2.weight,
            f"{at}.ln_2.bias": block.norm2.bias,
            f"{at}.mlp.0.weight": block.mlp.fc1.weight,
            f"{at}.mlp.0.bias": block.mlp.fc1.bias,
            f"{at}.mlp.3.weight": block.mlp.fc2.weight * block.ls2.gamma[:, None],
            f"{at}.mlp.3.bias": block.mlp.fc2.bias * block.ls2.gamma,
        }
    theirs.load_state_dict(state)
    return theirs.requires_grad_(False)


def test_with_equal_weights_the_features_are_torchvisions() -> None:
    net, images = small(), bytes_of(2, 3, 32)
    expected = torchvisions(net)(preprocess(images))
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(net(images), expected, rtol=1e-5, atol=2e-6)


def test_a_grey_image_is_one_with_three_equal_channels() -> None:
    net, grey = small(), bytes_of(1, 1, 8)
    assert torch.equal(net(grey), net(grey.repeat(1, 3, 1, 1)))


def test_images_are_resized_as_pillow_does_and_scaled_by_imagenets_numbers() -> None:
    """Pillow rounds to bytes after each of its two passes: half a level, which
    the second pass weighs by at most 1.25 (the sum of the absolute taps),
    and half a level again. It also cuts off, so no level is near 0 or 255."""
    image = bytes_of(1, 3, 300) // 4 + 96
    pillow = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    expected = (
        torch.frombuffer(bytearray(pillow.tobytes()), dtype=torch.uint8).reshape(224, 224, 3).permute(2, 0, 1)
    )
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    levels = (preprocess(image)[0] * std + mean) * 255
    assert float((levels - expected).abs().max()) < 0.5 * 1.25 + 0.5 + 0.01


def test_black_and_white_are_imagenets_extremes() -> None:
    black, white = (preprocess(torch.full((1, 3, 10, 10), level, dtype=torch.uint8))[0] for level in (0, 255))
    for channel in range(3):
        assert float(black[channel].mean()) == pytest.approx(-MEAN[channel] / STD[channel], abs=1e-5)
        assert float(white[channel].mean()) == pytest.approx((1 - MEAN[channel]) / STD[channel], abs=1e-5)


def cubic(x: float) -> float:
    """Keys' interpolation kernel with a = -0.75, which is what torch means by bicubic."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def test_positions_are_resampled_at_the_scale_of_the_release() -> None:
    """Of 37 places at a scale of 16.1 / 37, place i is read at (i + 1/2) 37 / 16.1 - 1/2; without the
    0.1 it would be 37 / 16, and up to 0.22 places off. Places beyond the border are those on it."""
    net = Dinov2(width=4, depth=1, heads=1).requires_grad_(False)
    net.pos_embed.copy_(drawn(1, 1370, 4))
    weights = torch.zeros(16, 37, dtype=torch.float64)
    for place in range(16):
        read = (place + 0.5) * 37 / 16.1 - 0.5
        for tap in range(math.floor(read) - 1, math.floor(read) + 3):
            weights[place, min(max(tap, 0), 36)] += cubic(read - tap)
    maps = net.pos_embed[0, 1:].double().reshape(37, 37, 4)
    expected = torch.einsum("ir,jc,rcd->ijd", weights, weights, maps).reshape(256, 4)

    found = net.positions()
    assert found.shape == (1, 257, 4)
    assert torch.equal(found[0, 0], net.pos_embed[0, 0])
    torch.testing.assert_close(found[0, 1:].double(), expected, rtol=0, atol=1e-5)


def test_positions_for_images_of_the_trained_size_stay_as_they_are() -> None:
    net = small(grid=16)
    assert torch.equal(net.positions(), net.pos_embed)


def test_names_shapes_and_count_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        net = Dinov2()
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert sum(value.numel() for value in net.parameters()) == PUBLISHED_PARAMETERS
    assert shapes["cls_token"] == (1, 1, 1024)
    assert shapes["pos_embed"] == (1, 1370, 1024)
    assert shapes["mask_token"] == (1, 1024)
    assert shapes["patch_embed.proj.weight"] == (1024, 3, 14, 14)
    assert shapes["blocks.23.attn.qkv.weight"] == (3072, 1024)
    assert shapes["blocks.23.ls2.gamma"] == (1024,)
    assert shapes["blocks.0.mlp.fc1.weight"] == (4096, 1024)
    assert len(shapes) == 24 * 14 + 7
    assert DINOV2.dims == 1024


def test_nothing_is_downloaded_and_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCH_DINOV2_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        WeightsNotFound, match=r"fetch https://.*dinov2_vitl14_pretrain\.pth and name .*ORCH_DINOV2"
    ):
        load_dinov2()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_other_tensors_is_no_dinov2(tmp_path: Path) -> None:
    torch.save({"cls_token": torch.zeros(1, 1, 384)}, tmp_path / "small.pth")
    with pytest.raises(WeightsNotFound, match=r"small\.pth does not hold DINOv2 ViT-L/14"):
        load_dinov2(tmp_path / "small.pth")


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_DINOV2_WEIGHTS", str(tmp_path / "absent.pth"))
    with pytest.raises(WeightsNotFound, match=r"cannot read weights .*absent\.pth: No such file"):
        load_dinov2()
    assert WEIGHTS.find(Path("given.pth")) == Path("given.pth")
