"""The cost on paper is the cost of the real module."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.backbones.adm.config import Adm
from engine.backbones.cost import Cost
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.flops import forward_cost
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet

CASES = [
    (DdpmPlusPlus(), {"resolution": 32, "in_channels": 3, "num_classes": 10}),
    (
        DdpmPlusPlus(channel_mult=(1, 2, 2, 2), class_conditional=True),
        {"resolution": 64, "in_channels": 3, "num_classes": 7},
    ),
    (
        DdpmPlusPlus(width_divisor=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(8, 4)),
        {"resolution": 8, "in_channels": 1, "num_classes": 10, "learned_variance": True},
    ),
    (
        DdpmPlusPlus(class_conditional=True, label_dropout=0.1),
        {"resolution": 32, "in_channels": 3, "num_classes": 10, "augment_labels": 9},
    ),
    (UNet(), {"resolution": 64, "in_channels": 3, "num_classes": 10, "learned_variance": True}),
    (
        UNet(channel_mult=(1, 2), class_conditional=True, label_dropout=0.1),
        {"resolution": 32, "in_channels": 3, "num_classes": 10, "augment_labels": 9},
    ),
    (
        UNet(channel_mult=(1, 2, 2, 2), class_conditional=True),
        {"resolution": 32, "in_channels": 3, "num_classes": 10},
    ),
    (
        UNet(
            channels=96,
            width_divisor=8,
            channel_mult=(3, 1),
            num_blocks=2,
            num_heads=2,
            attention_resolutions=(),
        ),
        {"resolution": 28, "in_channels": 1, "num_classes": 10},
    ),
    (NcsnPlusPlus(), {"resolution": 32, "in_channels": 3, "num_classes": 10, "augment_labels": 9}),
    (
        NcsnPlusPlus(width_divisor=8, channel_mult=(1, 2)),
        {"resolution": 28, "in_channels": 1, "num_classes": 10},
    ),
    (Adm(class_conditional=True), {"resolution": 64, "in_channels": 3, "num_classes": 1000}),
]

INPUTS = [{}, {"augment_labels": 9, "learned_variance": True}]


def measured_cost(model, shape):
    """Parameters and counted FLOPs / 2 of one image, on the meta device.

    PyTorch's counter covers convolutions and matrix products, fused attention included, at two FLOPs each
    multiply-accumulate: the very operations `forward_cost` counts.
    """
    side = shape["resolution"]
    with torch.device("meta"):
        net = model.build(NetShape(**shape))
        label = torch.empty(1, dtype=torch.long) if model.class_conditional else None
        augment = torch.empty(1, shape["augment_labels"]) if "augment_labels" in shape else None
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, shape["in_channels"], side, side), torch.empty(1), label, augment)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return Cost(sum(parameter.numel() for parameter in net.parameters()), flops // 2)


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_cost_equals_the_modules_parameters_and_counted_macs_exactly(model, shape):
    assert forward_cost(model, NetShape(**shape)) == measured_cost(model, shape)


@pytest.mark.parametrize("inputs", INPUTS, ids=repr)
@pytest.mark.parametrize(
    "label", [{}, {"class_conditional": True}, {"class_conditional": True, "label_dropout": 0.1}]
)
@pytest.mark.parametrize("kind", [Adm, DdpmPlusPlus, NcsnPlusPlus, UNet])
def test_cost_is_exact_with_every_input_and_output_of_a_small_uneven_net(kind, label, inputs):
    model = kind(width_divisor=8, channel_mult=(1, 2), num_blocks=(1, 2), attention_resolutions=(4,), **label)
    shape = {"resolution": 8, "in_channels": 3, "num_classes": 7, **inputs}
    assert forward_cost(model, NetShape(**shape)) == measured_cost(model, shape)


def test_costs_add():
    assert Cost(1, 10) + Cost(2, 20) == Cost(3, 30)


def test_cost_refuses_an_image_that_cannot_be_halved_often_enough():
    with pytest.raises(
        ValueError, match="halves the image 3 times, but 28 pixels can be halved only 2 times"
    ):
        forward_cost(UNet(), NetShape(resolution=28, in_channels=1, num_classes=10))


def test_counting_imports_no_torch():
    code = (
        "import sys, engine.backbones.registry, "
        "engine.backbones.unets.layout; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
