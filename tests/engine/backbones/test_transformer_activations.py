"""The bytes counted on paper for transformers and the multilayer perceptron are those that autograd keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.dit.config import Dit
from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.registry import Model
from engine.backbones.shape import NetShape

pytestmark = pytest.mark.slow

DIGITS = NetShape(resolution=8, in_channels=1, num_classes=10)
LATENTS = NetShape(resolution=16, in_channels=4, num_classes=10, learned_variance=True)
SMALL: dict[str, Any] = {"depth": 3, "width": 48, "num_heads": 4}
CASES: list[tuple[Model, NetShape]] = [
    (Dit(**SMALL), LATENTS),
    (Dit(depth=2, width=96, num_heads=3, class_conditional=True), DIGITS),
    (Dit(**SMALL, patch_size=1, dropout=0.1), DIGITS),
    (DyDit(**SMALL), LATENTS),
    (DyDit(**SMALL, routes=("heads",), dropout=0.1), LATENTS),
    (DyDit(**SMALL, routes=("groups",)), LATENTS),
    (DyDit(**SMALL, routes=("tokens",)), LATENTS),
    (Mlp(width=64), DIGITS),
    (Mlp(width=32, depth=2, class_conditional=True), DIGITS),
]


def kept_bytes(model: Model, shape: NetShape, batch: int, mixed: bool) -> int:
    """Bytes of all different tensors that a training pass
    keeps, parameters and their half-precision copies apart."""
    net = model.build(shape).train()
    images = torch.randn(batch, shape.in_channels, shape.resolution, shape.resolution)
    label = torch.zeros(batch, dtype=torch.long) if model.class_conditional else None
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    # A linear layer keeps its weights' copy transposed.
    sizes = {size for parameter in net.parameters() for size in (parameter.shape, parameter.shape[::-1])}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.shape not in sizes and tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed)
    with saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        net(images, torch.rand(batch), label)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("batch", [5, 11])
@pytest.mark.parametrize(("model", "shape"), CASES, ids=repr)
def test_the_count_is_within_10_per_cent_of_what_is_kept(
    model: Model, shape: NetShape, batch: int, mixed: bool
) -> None:
    counted = batch * model.activation_bytes(shape, width=2 if mixed else 4)
    # Not counted are the norms' means, a transformer's embedding, and what only the CPU's kernels keep: four
    # bytes for each number that dropout sees, where an accelerator keeps one.
    assert counted == pytest.approx(kept_bytes(model, shape, batch, mixed), rel=0.1)


@pytest.mark.parametrize("routes", [("heads",), ("groups",), ("tokens",)])
def test_choices_are_kept_on_top_of_the_static_network(routes: tuple[str, ...]) -> None:
    routed = DyDit.model_validate({**SMALL, "routes": routes})
    assert routed.activation_bytes(DIGITS) > routed.static.activation_bytes(DIGITS)


@pytest.mark.parametrize("model", [Dit(**SMALL), DyDit(**SMALL)])
def test_mixed_precision_keeps_more_than_half(model: TransformerSettings) -> None:
    full, mixed = (model.activation_bytes(LATENTS, width=width) for width in (4, 2))
    # Tokens and their norms stay in fp32.
    assert 0.55 < mixed / full < 0.7
