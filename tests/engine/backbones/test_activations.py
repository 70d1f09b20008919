"""The bytes counted on paper are those that autograd keeps."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import Model
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.backbones.unets.layers import GroupNorm, SelfAttention

pytestmark = pytest.mark.slow

DIGITS = {"resolution": 8, "in_channels": 1, "num_classes": 10}
SMALL = {"resolution": 16, "in_channels": 3, "num_classes": 10}
CASES: list[tuple[Model, dict[str, int]]] = [
    (DdpmPlusPlus(channels=24, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,)), DIGITS),
    (DdpmPlusPlus(channels=16, num_blocks=2, dropout=0.0), SMALL),
    (DdpmPlusPlus(channels=32, num_blocks=1, attention_resolutions=(), class_conditional=True), SMALL),
    (UNet(channels=24, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,)), DIGITS),
    (UNet(channels=32, channel_mult=(1, 2, 2), num_blocks=2, attention_resolutions=(8, 4)), SMALL),
    (UNet(channels=32, channel_mult=(2, 1), num_blocks=1, dropout=0.1, class_conditional=True), SMALL),
    (NcsnPlusPlus(channels=24, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,)), DIGITS),
    (NcsnPlusPlus(channels=32, num_blocks=1, dropout=0.0, class_conditional=True), SMALL),
    (Adm(channels=32, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), dropout=0.0), DIGITS),
    (Adm(channels=64, channel_mult=(1, 2, 2), num_blocks=(1, 2, 1), attention_resolutions=(8, 4)), SMALL),
    (Adm(channels=32, channel_mult=(2, 1), num_blocks=1, class_conditional=True), SMALL),
]


def kept_bytes(model: Model, shape: dict[str, int], batch: int, mixed: bool) -> int:
    """Bytes that one forward pass of a network keeps for the backward pass."""
    net = model.build(NetShape(**shape))
    images = torch.randn(batch, shape["in_channels"], shape["resolution"], shape["resolution"])
    label = torch.zeros(batch, dtype=torch.long) if model.class_conditional else None
    return kept_by(net, lambda: net(images, torch.rand(batch), label), mixed)


def kept_by(net: nn.Module, forward: Callable[[], Tensor], mixed: bool) -> int:
    """Bytes of all different tensors that `forward` keeps,
    parameters and their half-precision copies apart."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    sizes = {parameter.shape for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.shape not in sizes and tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed)
    with saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("batch", [3, 8])
@pytest.mark.parametrize(("model", "shape"), CASES, ids=repr)
def test_the_count_is_within_10_per_cent_of_what_is_kept(
    model: Model, shape: dict[str, int], batch: int, mixed: bool
) -> None:
    counted = batch * model.activation_bytes(NetShape(**shape), width=2 if mixed else 4)
    # Not counted are the labels' embeddings, and what only the CPU's kernels keep: four bytes for each number
    # that dropout sees, where an accelerator keeps one.
    assert counted == pytest.approx(kept_bytes(model, shape, batch, mixed), rel=0.1)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("heads", [1, 4])
def test_attention_keeps_no_scores_whatever_the_images_layout(
    heads: int, memory_format: torch.memory_format, mixed: bool
) -> None:
    batch, channels, side, groups, width = 2, 32, 16, 8, 2 if mixed else 4
    net = SelfAttention(channels, heads, GroupNorm(channels, min_channels=4, eps=1e-6))
    images = torch.randn(batch, channels, side, side).to(memory_format=memory_format).requires_grad_()
    # Input in fp32, the norm's output, q, k, v and their mix; a softmax's sum for each head and pixel; two
    # statistics for each group of the norm. The scores would be another heads * 16^4 numbers.
    own = (4 + 5 * width) * channels * side**2 + 4 * heads * side**2 + 2 * 4 * groups
    assert kept_by(net, lambda: net(images), mixed) == batch * own


@pytest.mark.parametrize(
    "model", [DdpmPlusPlus(dropout=0.0, attention_resolutions=()), UNet(attention_resolutions=())]
)
def test_mixed_precision_keeps_more_than_half(model: Model) -> None:
    shape = NetShape(resolution=32, in_channels=3, num_classes=0)
    full, mixed = (model.activation_bytes(shape, width=w) for w in (4, 2))
    # Group normalisation keeps its inputs in fp32.
    assert 0.55 < mixed / full < 0.85


def test_it_grows_with_the_square_of_the_image_where_the_same_blocks_attend() -> None:
    # The middle block attends in both, and keeps as much for each pixel.
    model = DdpmPlusPlus(attention_resolutions=(), channel_mult=(1, 2))
    shapes = [NetShape(resolution=side, in_channels=3, num_classes=0) for side in (8, 16, 32)]
    small, middle, large = (model.activation_bytes(shape) for shape in shapes)
    # The embedding, which has no pixels, drops out of the differences.
    assert large - middle == 4 * (middle - small)


def test_counting_imports_no_torch() -> None:
    code = "import sys, engine.training.memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
