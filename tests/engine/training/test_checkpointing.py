"""Gradient checkpointing: the same training to the last bit, and as much memory as is counted on paper."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import BACKBONES, Model
from engine.backbones.shape import NetShape
from engine.backbones.shared import checkpointing
from engine.backbones.shared.checkpointing import Blocks, set_checkpointing
from engine.backbones.unet.config import UNet
from engine.build import build_denoiser, build_network
from engine.training.memory import memory_budget
from engine.training.step import LossModel

UNET: dict[str, Any] = {
    "channels": 8,
    "channel_mult": (1, 2),
    "num_blocks": 1,
    "attention_resolutions": (4,),
    "dropout": 0.2,
}
DIT: dict[str, Any] = {"depth": 3, "width": 16, "num_heads": 2, "dropout": 0.2}
MODELS: dict[str, Model] = {
    "adm": Adm(**UNET, head_channels=4),
    "ddpmpp": DdpmPlusPlus(**UNET),
    "dit": Dit(**DIT),
    "dydit": DyDit(**DIT, dense_kimg=0.0, ramp_kimg=0.02, complete_kimg=0.016),
    "mlp": Mlp(width=16, depth=3, dropout=0.2),
    "ncsnpp": NcsnPlusPlus(**UNET),
    "unet": UNet(**UNET, num_heads=2),
}
DIGITS = NetShape(resolution=8, in_channels=1, num_classes=0)
BATCH = 8
every_kind = pytest.mark.parametrize("kind", sorted(BACKBONES))


def forward(net: nn.Module, batch: int = BATCH, mixed: bool = False, shape: NetShape = DIGITS) -> Tensor:
    images = torch.randn(batch, shape.in_channels, shape.resolution, shape.resolution)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        output: Tensor = net(images, torch.linspace(-1, 1, batch))
    return output


EVERY_KIND_AND_BF16 = [*((kind, "fp32") for kind in sorted(BACKBONES)), ("dit", "bf16"), ("unet", "bf16")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "precision"), EVERY_KIND_AND_BF16)
def test_a_training_ends_with_the_same_bits(kind: str, precision: str, short: Any) -> None:
    kept = []
    for recomputes in (False, True):
        plain = short.speck(precision=precision, checkpointing=recomputes)
        short.run(plain.model_copy(update={"model": MODELS[kind]}), f"{recomputes}")
        kept.append(short.kept(f"{recomputes}"))
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_head_on_a_frozen_network_ends_with_the_same_bits(short: Any) -> None:
    kept = []
    for recomputes in (False, True):
        head = short.with_head(checkpointing=recomputes)
        short.run(head.parent, f"parent {recomputes}")
        short.run(head, f"{recomputes}", parent=f"parent {recomputes}")
        kept.append(short.kept(f"{recomputes}"))
    assert kept[0] == kept[1]


@every_kind
def test_training_runs_every_block_a_second_time_and_sampling_once(
    kind: str, short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = short.speck(checkpointing=True).model_copy(update={"model": MODELS[kind]})
    net, calls = build_network(experiment), []
    monkeypatch.setattr(
        checkpointing, "checkpoint", lambda block, *args, **_: calls.append(block) or block(*args)
    )
    with torch.no_grad():
        forward(net)
    assert not calls
    forward(net)
    layout = net.trunk if hasattr(net, "trunk") else net
    blocks = (
        [*layout.blocks] if hasattr(layout, "blocks") else [*layout.encoder, *layout.middle, *layout.decoder]
    )
    assert len(calls) == len(blocks)


@every_kind
def test_a_network_without_the_flag_never_does(kind: str, short: Any) -> None:
    experiment = short.speck().model_copy(update={"model": MODELS[kind]})
    chains = [module for module in build_network(experiment).modules() if isinstance(module, Blocks)]
    assert chains
    assert not any(chain.checkpointing for chain in chains)


def kept_by(net: nn.Module, function: Callable[[], Any]) -> int:
    """Bytes of all different tensors that autograd keeps,
    parameters and their half-precision copies apart."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    sizes = {parameter.shape for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.shape not in sizes and tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


SIZES: dict[str, Model] = {
    "adm": Adm(channels=32, channel_mult=(1, 2), num_blocks=2, attention_resolutions=(4,), head_channels=16),
    "ddpmpp": DdpmPlusPlus(
        channels=32, channel_mult=(1, 2), num_blocks=2, attention_resolutions=(4,), dropout=0.0
    ),
    "dit": Dit(depth=6, width=64, num_heads=4),
    "dydit": DyDit(depth=6, width=64, num_heads=4, dense_kimg=0.0),
    "mlp": Mlp(width=64, depth=6),
    "ncsnpp": NcsnPlusPlus(
        channels=32, channel_mult=(1, 2), num_blocks=2, attention_resolutions=(), dropout=0.0
    ),
    "unet": UNet(channels=32, channel_mult=(1, 2), num_blocks=2, attention_resolutions=(4,)),
}


def inputs_and_largest_inside(
    model: Model, shape: NetShape, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Bytes that a pass of a batch with checkpointing keeps, and those of its largest block without."""
    net, insides = model.build(shape), []
    set_checkpointing(net, True)
    inputs = kept_by(net, lambda: forward(net, BATCH, mixed, shape))

    def measured(_: Blocks, function: Callable[..., Any], *args: Any) -> Any:
        results: list[Any] = []
        insides.append(kept_by(net, lambda: results.append(function(*args))))
        return results[0]

    monkeypatch.setattr(Blocks, "run", measured)
    forward(net, BATCH, mixed, shape)
    return inputs + max(insides)


@every_kind
@pytest.mark.parametrize("mixed", [False, True])
def test_inputs_and_the_largest_inside_are_counted_within_10_per_cent(
    kind: str, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `activation_bytes`, embeddings are left out;
    an input that the largest inside keeps too counts twice."""
    counted = BATCH * SIZES[kind].checkpointed_bytes(DIGITS, 2 if mixed else 4)
    assert counted == pytest.approx(
        inputs_and_largest_inside(SIZES[kind], DIGITS, mixed, monkeypatch), rel=0.1
    )


@pytest.mark.parametrize("kind", ["ddpmpp", "ncsnpp"])
def test_what_the_residual_encoder_keeps_of_the_image_lies_outside_of_the_blocks(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At four levels it is 2.6 % of all; without dropout or attention nothing else is left out but embeddings
    and the norms' means, a tenth of a per cent."""
    size = {
        "channels": 32,
        "channel_mult": (1, 2, 2, 2),
        "num_blocks": 1,
        "attention_resolutions": (),
        "dropout": 0.0,
    }
    model: Model = TypeAdapter(Model).validate_python({"kind": kind, **size})
    shape = NetShape(resolution=16, in_channels=3, num_classes=0)
    kept = inputs_and_largest_inside(model, shape, False, monkeypatch)
    assert BATCH * model.checkpointed_bytes(shape) == pytest.approx(kept, rel=0.005)


def test_in_its_warm_up_a_dydit_keeps_a_complete_pass_too(short: Any) -> None:
    model = DyDit(depth=3, width=48, num_heads=4, patch_size=1, complete_kimg=1.0)
    experiment = short.speck().model_copy(update={"model": model})
    net = build_network(experiment)
    losses = LossModel(experiment, build_denoiser(experiment, net))
    images, sigma = torch.randn(8, 1, 8, 8), torch.full((8,), 0.5, dtype=torch.float64)
    kept = kept_by(net, lambda: losses(images, images, sigma, None, None, 0))
    # As for `activation_bytes`: embeddings and norms' means are left out.
    assert memory_budget(experiment, 0, 8).activations == pytest.approx(kept, rel=0.1)


def test_the_published_networks_keep_less_than_a_third() -> None:
    image = NetShape(resolution=32, in_channels=3, num_classes=10)
    for model in (DdpmPlusPlus(), NcsnPlusPlus(), UNet(channel_mult=(1, 2, 2, 2)), Dit(), DyDit()):
        for width in (4, 2):
            assert model.checkpointed_bytes(image, width) < model.activation_bytes(image, width) / 3


def test_the_memory_budget_counts_what_is_kept(short: Any) -> None:
    plain, recomputing = (
        short.speck(checkpointing=flag).model_copy(update={"model": Dit()}) for flag in (False, True)
    )
    shape = NetShape(resolution=8, in_channels=1, num_classes=10)
    assert memory_budget(plain, 0, 5).activations == 5 * Dit().activation_bytes(shape)
    assert memory_budget(recomputing, 0, 5).activations == 5 * Dit().checkpointed_bytes(shape)
