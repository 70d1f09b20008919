"""The bytes counted on paper for transformers and the multilayer perceptron are those that autograd keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.activations import activation_bytes
from engine.backbones.registry import build_backbone
from engine.config.model import Dit, DyDit, Mlp, Model, Transformers
from engine.config.network_shape import NetShape

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
    """Bytes of all different tensors that a training pass keeps, parameters and their half-precision copies
    apart."""
    net = build_backbone(model, shape).train()
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
    counted = batch * activation_bytes(model, shape, width=2 if mixed else 4)
    # Not counted are the norms' means, a transformer's embedding, and what only the CPU's kernels keep: four
    # bytes for each number that dropout sees, where an accelerator keeps one.
    assert counted == pytest.approx(kept_bytes(model, shape, batch, mixed), rel=0.1)


@pytest.mark.parametrize("routes", [("heads",), ("groups",), ("tokens",)])
def test_choices_are_kept_on_top_of_the_static_network(routes: tuple[str, ...]) -> None:
    routed = DyDit.model_validate({**SMALL, "routes": routes})
    assert activation_bytes(routed, DIGITS) > activation_bytes(routed.static, DIGITS)


@pytest.mark.parametrize("model", [Dit(**SMALL), DyDit(**SMALL)])
def test_mixed_precision_keeps_more_than_half(model: Transformers) -> None:
    full, mixed = (activation_bytes(model, LATENTS, width=width) for width in (4, 2))
    # Tokens and their norms stay in fp32.
    assert 0.55 < mixed / full < 0.7
