"""What every registered backbone must do; a new entry is tested on the day it is added."""

import itertools
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

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
    """How many times a feature is rounded on the longest way through: about 12 elementwise or matrix steps
    (norm, activation, linear or convolution in and out, modulation, sums) a residual block or MLP, as many
    for attention."""
    if model.kind in UNETS:
        return sum(24 if block.attention else 12 for block in unet_layout(model, NetShape(**IMAGES)).blocks)
    return 12 * model.depth if isinstance(model, Mlp) else 24 * model.depth


def steady(kind):
    """Changes under which no choice inside a network hangs on the rounding of features: DyDiT's tokens'
    does."""
    return {"routes": ("heads", "groups")} if CONFIGS[kind] is DyDit else {}


def test_the_registry_names_exactly_the_kinds_of_the_spec():
    names = {config.model_fields["kind"].default for config in get_args(get_args(Model)[0])}
    assert sorted(BACKBONES) == sorted(names)


@every_backbone
@pytest.mark.parametrize("conditional", [False, True])
def test_gradients_reach_every_weight(kind, conditional):
    net = trained_looking(small(kind, class_conditional=conditional), augment_labels=9).train()
    net(*inputs(4), torch.ones(4, 9)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.dim() == 1 or parameter.grad.count_nonzero() > 0, name


@every_backbone
def test_weights_and_output_are_a_function_of_the_seed(kind):
    first, again, other = (trained_looking(small(kind), seed)(*inputs(2)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


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
def test_an_image_does_not_see_its_neighbours_in_the_batch(kind):
    net, (x, c_noise, label) = trained_looking(small(kind)), inputs(4)
    others = torch.cat([x[:1], torch.randn(3, 1, 8, 8)])
    with torch.no_grad():
        assert torch.equal(net(x, c_noise, label)[0], net(others, c_noise, label)[0])


@every_backbone
def test_a_conditional_network_hears_the_label_and_the_noise_level(kind):
    net, (x, c_noise, label) = trained_looking(small(kind, class_conditional=True)), inputs(2)
    with torch.no_grad():
        output = net(x, c_noise, label)
        # A label or noise level is one part in a few of the embedding: its effect is far above fp32 rounding.
        assert relative_error(net(x, c_noise, label + 1), output) > 1e-3
        assert relative_error(net(x, c_noise + 1, label), output) > 1e-3


@every_backbone
def test_a_conditional_network_demands_a_label(kind):
    net, (x, c_noise, _) = trained_looking(small(kind, class_conditional=True)), inputs(2)
    with pytest.raises(ValueError, match="needs a label"):
        net(x, c_noise, None)


@every_backbone
def test_an_unconditional_network_ignores_the_label(kind):
    net, (x, c_noise, label) = trained_looking(small(kind)), inputs(2)
    with torch.no_grad():
        assert torch.equal(net(x, c_noise, label), net(x, c_noise, None))


@every_backbone
def test_no_augmentation_labels_are_exactly_zeros_and_others_are_heard(kind):
    net, arguments = trained_looking(small(kind), augment_labels=9), inputs(3)
    with torch.no_grad():
        output = net(*arguments)
        assert torch.equal(net(*arguments, torch.zeros(3, 9)), output)
        for number in range(9):
            augment = torch.eye(9)[[number]].expand(3, 9)
            # A label is one part in a few of the embedding: its effect is far above fp32 rounding.
            assert relative_error(net(*arguments, augment), output) > 1e-3


@every_backbone
def test_a_network_without_augmentation_labels_refuses_them(kind):
    with pytest.raises(ValueError, match="without augmentation labels"):
        trained_looking(small(kind))(*inputs(2), torch.zeros(2, 9))


@every_backbone
def test_with_label_dropout_label_minus_one_is_an_answer_of_its_own(kind):
    net = trained_looking(small(kind, class_conditional=True, label_dropout=0.1))
    x, c_noise, _ = inputs(1)
    labels = torch.arange(-1, 10)
    with torch.no_grad():
        outputs = net(x.expand(11, -1, -1, -1), c_noise.expand(11), labels)
    for a, b in itertools.combinations(outputs, 2):
        # A label is one part in a few of the embedding: its effect is far above fp32 rounding.
        assert relative_error(a, b) > 1e-3


@every_backbone
@pytest.mark.parametrize(("label_dropout", "label"), [(0.0, -1), (0.0, 10), (0.1, -2), (0.1, 10)])
def test_a_label_that_is_no_class_is_an_index_out_of_range(kind, label_dropout, label):
    net = trained_looking(small(kind, class_conditional=True, label_dropout=label_dropout))
    x, c_noise, _ = inputs(1)
    with pytest.raises((IndexError, RuntimeError)):
        net(x, c_noise, torch.tensor([label]))


@every_backbone
def test_label_dropout_changes_nothing_in_an_unconditional_network(kind):
    plain, same = (trained_looking(small(kind, label_dropout=dropout)) for dropout in (0.0, 0.1))
    with torch.no_grad():
        assert torch.equal(plain(*inputs(2)), same(*inputs(2)))


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
def test_out_channels_may_differ_from_in_channels(kind):
    net = small(kind).build(NetShape(**IMAGES, learned_variance=True))
    assert net(*inputs(3)).shape == (3, 2, 8, 8)


@every_backbone
def test_dropout_acts_in_training_only(kind):
    net, arguments = trained_looking(small(kind, dropout=0.5)), inputs(2)
    with torch.no_grad():
        assert torch.equal(net(*arguments), net(*arguments))
        net.train()
        assert not torch.equal(net(*arguments), net(*arguments))


@every_backbone
def test_bf16_autocast_stays_within_its_roundings_of_fp32(kind):
    model = small(kind, class_conditional=True, **steady(kind))
    net, arguments = trained_looking(model), inputs(4)
    with torch.no_grad():
        reference = net(*arguments)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = net(*arguments)
    # bf16 keeps 8 bits: a rounding moves a value by 2^-8 of it at most. Independent ones add like a random
    # walk, and the norms keep a relative error from growing between blocks. The lower end shows that autocast
    # was in force.
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
