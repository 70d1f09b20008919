"""What every registered backbone must do; a new entry is tested on the day it is added."""

from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from engine.backbones import conformance
from engine.backbones.conformance import CHECKS
from engine.backbones.dydit.config import DyDit
from engine.backbones.flops import forward_cost
from engine.backbones.mlp.config import Mlp
from engine.backbones.registry import BACKBONES, Model
from engine.backbones.shape import NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.layout import unet_layout
from engine.files import pack, unpack

IMAGES = {"resolution": 8, "in_channels": 1, "num_classes": 10}
CONFIGS = dict(BACKBONES)
UNETS = sorted(kind for kind in BACKBONES if issubclass(BACKBONES[kind], UNetBase))
every_backbone = pytest.mark.parametrize("kind", sorted(BACKBONES))
every_unet = pytest.mark.parametrize("kind", UNETS)


def small(kind, **changes):
    """A smoke-sized configuration of one kind."""
    if kind in UNETS:
        size = {"channels": 64, "channel_mult": (1, 2), "num_blocks": 1, "attention_resolutions": (4,)}
    elif CONFIGS[kind] is Mlp:
        size = {"width": 256, "depth": 3}
    else:
        size = {"width": 192, "depth": 2, "num_heads": 3}
    fields = {"kind": kind, "width_divisor": 8, "dropout": 0.0, **size, **changes}
    return TypeAdapter(Model).validate_python(fields)


def trained_looking(model, seed=0, **shape):
    """A network whose weights are nowhere zero, as after training, so that every branch takes part; its
    routers, if it has any, choose about one half."""
    torch.manual_seed(seed)
    net = model.build(NetShape(**{**IMAGES, **shape}))
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif "router" in name:
            nn.init.zeros_(parameter)
    return net.eval()


def inputs(batch, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 1, 8, 8, generator=generator)
    return x, torch.linspace(-1.0, 1.0, batch), torch.arange(batch) % 10


def relative_error(value, reference):
    return ((value.double() - reference.double()).norm() / reference.double().norm()).item()


def roundings(model):
    """How many times a feature is rounded on the longest way through: about 12
    elementwise or matrix steps (norm, activation, linear or convolution in
    and out, modulation, sums) a residual block or MLP, as many for attention."""
    if model.kind in UNETS:
        return sum(24 if block.attention else 12 for block in unet_layout(model, NetShape(**IMAGES)).blocks)
    return 12 * model.depth if isinstance(model, Mlp) else 24 * model.depth


def steady(kind):
    """Changes under which no choice inside a network hangs on the rounding of features:
    DyDiT's tokens' does."""
    return {"routes": ("heads", "groups")} if CONFIGS[kind] is DyDit else {}


def test_the_registry_names_exactly_the_kinds_of_the_spec():
    names = {config.model_fields["kind"].default for config in get_args(get_args(Model)[0])}
    assert sorted(BACKBONES) == sorted(names)


@every_backbone
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_kind_passes_the_checks_that_its_author_is_given(kind, check):
    assert check(small(kind)) is None  # a check that fails raises


class Deaf(Mlp):
    """Its label goes unheard."""

    def build(self, shape):
        net = super().build(shape)
        hear = net.forward
        net.forward = lambda x, c_noise, label=None, augment=None: hear(
            x, c_noise, None if label is None else torch.zeros_like(label), augment
        )
        return net


class Gossip(Mlp):
    """Each image hears the mean of the batch."""

    def build(self, shape):
        net = super().build(shape)
        hear = net.forward
        net.forward = lambda x, *rest: hear(x + x.mean(0), *rest)
        return net


class Miscounted(Mlp):
    """It forgets its last layer when it counts."""

    def layers(self, shape):
        return super().layers(shape)[:-1]


class Uncounted(Mlp):
    """It does not count its layers."""

    def layers(self, shape):
        return None


@pytest.mark.parametrize(
    ("broken", "check", "reason"),
    [
        (Deaf(), conformance.label_and_noise_level_are_heard, "the label is not heard"),
        (Deaf(), conformance.label_minus_one_is_an_answer_of_its_own, "two labels are answered alike"),
        (Gossip(), conformance.an_image_does_not_see_its_neighbours, "its neighbours"),
        (Miscounted(), conformance.the_counted_cost_is_the_networks, "parameters are counted"),
    ],
)
def test_the_checks_find_what_is_wrong_with_a_network(broken, check, reason):
    with pytest.raises(AssertionError, match=reason):
        check(broken)


def test_a_kind_that_counts_nothing_is_no_fault():
    assert conformance.the_counted_cost_is_the_networks(Uncounted()) is None


@every_backbone
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_any_batch_size_gives_each_image_its_own_answer(kind, batch):
    model = small(kind, class_conditional=True)
    net, (x, c_noise, label) = trained_looking(model), inputs(8)
    with torch.no_grad():
        whole = net(x, c_noise, label)[:batch]
        part = net(x[:batch], c_noise[:batch], label[:batch])
    # The order of sums may depend on the batch: at worst every one of the roundings differs by fp32's 2^-24.
    assert relative_error(part, whole) < roundings(model) * 2.0**-24


@every_backbone
def test_the_width_sweep_divided_by_8_keeps_its_order_of_sizes(kind):
    sizes = []
    for width in (64, 96, 128, 192) if kind in UNETS else (96, 192, 384, 768):
        model = small(kind, **{"channels" if kind in UNETS else "width": width})
        net = model.build(NetShape(**IMAGES))
        assert net(*inputs(2)).shape == (2, 1, 8, 8)
        sizes.append(sum(parameter.numel() for parameter in net.parameters()))
        assert sizes[-1] == forward_cost(model, NetShape(**IMAGES)).params
    assert sizes == sorted(set(sizes))


@every_backbone
def test_bf16_autocast_stays_within_its_roundings_of_fp32(kind):
    model = small(kind, class_conditional=True, **steady(kind))
    net, arguments = trained_looking(model), inputs(4)
    with torch.no_grad():
        reference = net(*arguments)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = net(*arguments)
    # bf16 keeps 8 bits: a rounding moves a value by 2^-8 of it at most.
    # Independent ones add like a random walk, and the norms keep a relative error
    # from growing between blocks. The lower end shows that autocast was in force.
    error = relative_error(output, reference)
    assert 2.0**-10 < error < roundings(model) ** 0.5 * 2.0**-8


@every_backbone
def test_norms_are_computed_in_fp32_under_autocast(kind, monkeypatch):
    seen = []

    def spy(original):
        def norm(x, *arguments, **options):
            output = original(x, *arguments, **options)
            seen.extend([x.dtype, output.dtype])
            return output

        return norm

    for name in ("group_norm", "layer_norm"):
        monkeypatch.setattr(nn.functional, name, spy(getattr(nn.functional, name)))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        trained_looking(small(kind))(*inputs(1))
    assert set(seen) == {torch.float32}


@every_unet
def test_channels_last_images_stay_channels_last_and_give_the_same_answer(kind):
    model = small(kind)
    net, (x, c_noise, label) = trained_looking(model, in_channels=3), inputs(2)
    x = x.repeat(1, 3, 1, 1)
    with torch.no_grad():
        reference = net(x, c_noise, label)
        net = net.to(memory_format=torch.channels_last)
        output = net(x.contiguous(memory_format=torch.channels_last), c_noise, label)
    assert output.is_contiguous(memory_format=torch.channels_last)
    # Another order of sums: at worst every one of the roundings differs by fp32's 2^-24.
    assert relative_error(output, reference) < roundings(model) * 2.0**-24


@every_backbone
def test_a_file_of_the_state_dict_carries_everything(kind):
    source, target = (trained_looking(small(kind, class_conditional=True), seed) for seed in (0, 1))
    arguments = inputs(2)
    with torch.no_grad():
        assert not torch.equal(source(*arguments), target(*arguments))
        weights, metadata = unpack(pack(source.state_dict(), {"kind": kind}))
        target.load_state_dict(weights)
        assert torch.equal(source(*arguments), target(*arguments))
    assert metadata == {"kind": kind}
    again, _ = unpack(pack(target.state_dict(), {}))
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@every_unet
def test_a_resolution_that_cannot_be_halved_is_refused(kind):
    with pytest.raises(ValueError, match="halves the image 4 times, but 8 pixels can be halved only 3 times"):
        small(kind, channel_mult=(1, 1, 1, 1, 1)).build(NetShape(**IMAGES))
