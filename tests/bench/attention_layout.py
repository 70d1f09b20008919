"""What the layout of q, k and v costs self-attention: side by side in memory, as it is, and as strided views.

Run `python tests/bench/attention_layout.py [REPEATS]`. Of contiguous images, the
strided views keep the fused kernel out, so that every score is held in memory;
channels-last images have q, k and v side by side already. Both are measured in one run,
in turn, on one core, so that their ratio means something. Nothing here is asserted.
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.unets.layers import GroupNorm, SelfAttention

BATCH, CHANNELS, SIDE = 16, 256, 16
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


class StridedAttention(SelfAttention):
    """The same attention on q, k and v as they come out of the convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        qkv = qkv.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        projected: Tensor = self.proj(attended)
        return projected


def kept_mebibytes(net: SelfAttention, images: Tensor) -> float:
    """What autograd keeps of a forward pass, parameters included."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        net(images)
    return sum(kept.values()) / 2**20


def forward_seconds(net: SelfAttention, images: Tensor) -> float:
    """Processor time of a forward pass without gradients."""
    started = time.process_time()
    with torch.no_grad():
        net(images)
    return time.process_time() - started


def training_seconds(net: SelfAttention, images: Tensor) -> float:
    """Processor time of a forward and a backward pass."""
    started = time.process_time()
    net(images).sum().backward()
    return time.process_time() - started


def compare(heads: int, images: Tensor, repeats: int) -> list[str]:
    """Strided / side by side = ratio: milliseconds forward, forward and backward, mebibytes;
    then their difference."""
    norm = GroupNorm(CHANNELS, min_channels=4, eps=1e-6)
    strided, own = (kind(CHANNELS, heads, norm) for kind in (StridedAttention, SelfAttention))
    strided.load_state_dict(own.state_dict())
    measured = []
    for measure in (forward_seconds, training_seconds):
        runs = [(measure(strided, images), measure(own, images)) for _ in range(repeats)]
        measured.append([1000 * min(times) for times in zip(*runs, strict=True)])
    measured.append([kept_mebibytes(net, images) for net in (strided, own)])
    difference = float((strided(images) - own(images)).detach().abs().max())
    return [
        *(f"{before:.1f} / {now:.1f} = {before / now:.2f}" for before, now in measured),
        f"{difference:.1e}",
    ]


def main(repeats: int) -> None:
    """Measure both in turn and print the ratios of their fastest runs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"batch {BATCH}, {SIDE}x{SIDE}, {CHANNELS} channels, fp32, 1 thread; strided / side by side")
    print(
        f"{'images':14} {'heads':>5} {'forward ms':>20} "
        f"{'and backward ms':>22} {'kept MiB':>20} {'difference':>11}"
    )
    for name, memory_format in LAYOUTS.items():
        images = torch.randn(BATCH, CHANNELS, SIDE, SIDE).to(memory_format=memory_format).requires_grad_()
        for heads in (1, 4):
            forward, training, kept, difference = compare(heads, images, repeats)
            print(f"{name:14} {heads:5} {forward:>20} {training:>22} {kept:>20} {difference:>11}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
