"""Our networks give what the released programs' networks gave, on the same weights and inputs.

The numbers were made by running the programs. Two files lie in tests/data; those above a megabyte lie where
ORCH_VECTORS says, and their tests are skipped without it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from released_layouts import Weights, dit, edm_unet, iddpm_unet
from safetensors import safe_open
from torch import Tensor, nn

from engine.backbones.adm.config import Adm
from engine.backbones.base import ModelBase
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.denoiser import Denoiser
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, EdmProcess, TimeScaleName

KEPT = Path(__file__).parents[2] / "data"
VECTORS = os.environ.get("ORCH_VECTORS")
ELSEWHERE = (Path(VECTORS), Path(VECTORS) / "weights") if VECTORS else ()

# Of the largest output: they and we sum the same products
# in fp32, in another order, through some twenty layers.
TOLERANCE = 16 * 2.0**-23


@dataclass(frozen=True)
class Released:
    """What one program was given, and what it gave."""

    weights: Weights
    inputs: dict[str, Tensor]
    output: Tensor
    options: dict[str, object]


def released(name: str) -> Released:
    """The numbers of one file; skips the test where they are not at hand."""
    file = f"{name}.safetensors"
    path = next((folder / file for folder in (KEPT, *ELSEWHERE) if (folder / file).exists()), None)
    assert path or not VECTORS, f"ORCH_VECTORS={VECTORS} has no {file}"
    if path is None:
        pytest.skip(f"{file} is above a megabyte: its folder is given by ORCH_VECTORS")
    found: dict[str, dict[str, Tensor]] = {"weights": {}, "in": {}, "out": {}}
    with safe_open(path, "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118  (the handle is no mapping)
            part, rest = key.split(".", 1)
            found[part][rest.removeprefix("model.") if part == "weights" else rest] = tensors.get_tensor(key)
        options = json.loads(tensors.metadata()["options"])
    (output,) = found["out"].values()
    return Released(found["weights"], found["in"], output, options)


def built(model: ModelBase, shape: NetShape, weights: Weights) -> nn.Module:
    """Our network with these weights, every one of them and no other."""
    net = model.build(shape)
    net.load_state_dict(weights)
    return net.eval()


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize(
    ("name", "model", "augment_labels"),
    [
        (
            "edm-ddpmpp",
            DdpmPlusPlus(
                channels=16,
                channel_mult=(1, 2),
                num_blocks=1,
                attention_resolutions=(4,),
                class_conditional=True,
                label_dropout=0.1,
            ),
            9,
        ),
        (
            "edm-ncsnpp",
            NcsnPlusPlus(channels=16, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,)),
            9,
        ),
        (
            "edm-adm",
            Adm(
                channels=64,
                channel_mult=(1, 1),
                num_blocks=1,
                attention_resolutions=(4,),
                class_conditional=True,
                label_dropout=0.1,
                first_width="first_level",
                narrow_attention="none",
            ),
            0,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@torch.no_grad()
def test_edms_preconditioned_networks(name: str, model: ModelBase, augment_labels: int) -> None:
    found = released(name)
    shape = NetShape(resolution=8, in_channels=3, num_classes=4, augment_labels=augment_labels)
    net = built(model, shape, edm_unet(found.weights, model, shape))
    denoiser = Denoiser(net, Preconditioning(EdmProcess(), "F", 0.5))
    one_hot = found.inputs.get("labels")
    # A row of zeros is no label, which is -1 here.
    label = None if one_hot is None else torch.where(one_hot.any(1), one_hot.argmax(1), -1)
    sigma = found.inputs["sigma"].double()
    assert_close(denoiser(found.inputs["x"], sigma, label), found.output)


@torch.no_grad()
def test_improved_diffusions_unet_with_scale_and_shift() -> None:
    found = released("p1-unet")
    model = UNet(
        channels=32,
        channel_mult=(1, 2),
        num_blocks=1,
        attention_resolutions=(4,),
        class_conditional=True,
        min_group_channels=1,
    )
    shape = NetShape(resolution=8, in_channels=3, num_classes=4, learned_variance=True)
    net = built(model, shape, iddpm_unet(found.weights, model, shape))
    output = net(found.inputs["x"], found.inputs["timesteps"], found.inputs["labels"])
    assert_close(output, found.output)


@pytest.mark.parametrize(("name", "kind"), [("dit", Dit), ("dydit", DyDit)])
@torch.no_grad()
def test_dit_and_dydit(name: str, kind: type[Dit | DyDit]) -> None:
    found = released(name)
    model = kind(depth=2, width=96, num_heads=6, patch_size=2, class_conditional=True, label_dropout=0.1)
    shape = NetShape(resolution=8, in_channels=4, num_classes=5, learned_variance=True)
    net = built(model, shape, dit(found.weights))
    null = 5
    label = torch.where(found.inputs["y"] == null, -1, found.inputs["y"])
    assert_close(net(found.inputs["x"], found.inputs["t"].float(), label), found.output)


@torch.no_grad()
def test_dits_fixed_positions() -> None:
    found = released("dit")
    shape = NetShape(resolution=8, in_channels=4, num_classes=5, learned_variance=True)
    net = Dit(depth=2, width=96, num_heads=6, patch_size=2).build(shape)
    assert_close(net.positions, found.weights["pos_embed"][0])


@pytest.mark.parametrize(("time_scale", "apart"), [("raw", 0.0), ("thousand", 0.05), ("shifted", 1e-4)])
@torch.no_grad()
def test_p1s_network_of_4000_timesteps_is_told_them_as_they_are(
    time_scale: TimeScaleName, apart: float
) -> None:
    found = released("p1-unet")
    model = UNet(
        channels=32,
        channel_mult=(1, 2),
        num_blocks=1,
        attention_resolutions=(4,),
        class_conditional=True,
        min_group_channels=1,
    )
    shape = NetShape(resolution=8, in_channels=3, num_classes=4, learned_variance=True)
    net = built(model, shape, iddpm_unet(found.weights, model, shape))
    chain = DiscreteProcess(schedule="cosine", num_timesteps=4000, time_scale=time_scale)
    sigma = torch.tensor(chain.sigmas, dtype=torch.float64)[found.inputs["timesteps"].long()]
    # The denoiser takes x0 + sigma eps and shows the network what the chain has at that timestep.
    x = found.inputs["x"].double() / chain.scale(sigma).reshape(-1, 1, 1, 1)
    output = Denoiser(net, Preconditioning(chain, "eps")).output(x, sigma, found.inputs["labels"])
    assert output.variance is not None
    eps, variance = found.output.chunk(2, dim=1)
    difference = max(
        ((ours - theirs).norm() / theirs.norm()).item()
        for ours, theirs in ((output.target, eps), (output.variance, variance))
    )
    if apart:
        assert difference > apart
    else:
        assert difference < 1e-5  # x is scaled there and back in float64, the network is fp32
