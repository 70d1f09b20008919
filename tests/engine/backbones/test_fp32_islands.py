"""What stays in fp32 when layers run in bf16: embeddings of a U-Net, and the sums inside attention.

That norms do is a claim about every backbone, that the loss does one about the denoiser;
both are tested with them.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.network import Attention
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import Model
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.backbones.unets.layers import GroupNorm, SelfAttention

SMALL: dict[str, Any] = {
    "channels": 8,
    "channel_mult": (1,),
    "num_blocks": 1,
    "attention_resolutions": (),
    "class_conditional": True,
}
UNETS: list[Model] = [
    Adm(**SMALL, head_channels=4),
    DdpmPlusPlus(**SMALL),
    NcsnPlusPlus(**SMALL),
    UNet(**SMALL, num_heads=2),
]
LABEL, AUGMENT = torch.arange(3), torch.linspace(-1, 1, 27).reshape(3, 9)
TOKENS = 4096


@pytest.mark.parametrize("model", UNETS, ids=lambda model: model.kind)
def test_a_unet_rounds_its_embedding_once_at_the_end(model: Model) -> None:
    net = model.build(NetShape(resolution=8, in_channels=1, num_classes=10, augment_labels=9)).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    seen: list[Tensor] = []
    net.trunk.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            net(torch.randn(3, 1, 8, 8), torch.tensor([-1.0, 0.3, 1.1]), LABEL, AUGMENT)
    assert seen[1].dtype == torch.bfloat16
    assert torch.equal(seen[0].bfloat16(), seen[1])


def flat_attention(kind: str) -> tuple[nn.Module, Tensor]:
    """Attention whose scores are all equal and whose values are all 1, with images or tokens for it."""
    if kind == "unet":
        net: nn.Module = SelfAttention(8, 1, GroupNorm(8, min_channels=4, eps=1e-6))
        images = torch.randn(1, 8, 64, 64)
    else:
        net, images = Attention(8, 1), torch.randn(1, TOKENS, 8)
    nn.init.zeros_(net.qkv.weight)
    with torch.no_grad():
        net.qkv.bias.copy_(torch.cat([torch.zeros(16), torch.ones(8)]))
        net.proj.weight.copy_(torch.eye(8).reshape(net.proj.weight.shape))
    nn.init.zeros_(net.proj.bias)
    return net, images


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_attention_adds_thousands_of_weights_in_fp32(kind: str) -> None:
    """A bf16 sum of 4,096 ones stops at 256, where the next one is half a last bit:
    the mean would be 16 times off."""
    net, images = flat_attention(kind)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(images)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output.float(), torch.ones(output.shape))
