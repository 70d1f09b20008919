"""What skipping saves: time an image of DiT, of DyDiT that masks, and of DyDiT that gathers, in the same run.

Run: python tests/bench/dydit_speed.py [--sizes S,B] [--batch 8] [--repeats 5] Latents of 32x32x4 at patch 2,
one noise level a batch, random weights. At each flops_ratio the same share of heads, groups and tokens is
chosen, as near to the ratio as whole heads allow: a random but fixed set of heads and groups in every block,
and in each block the tokens with the highest scores. The three networks take turns on one thread; medians of
its processor time are printed, which on an idle machine is the time on the clock. FLOPs are those of the
whole network, routers included; "of 1/FLOPs" is the speed-up over what they promise. The last column is what
P5 measured with masks on a V100 at its best batch (Table 8).
"""

import argparse
import math
import statistics
import time

import torch
from torch import Tensor, nn

from engine.backbones.dit.cost import attention_cost, mlp_cost
from engine.backbones.dit.network import DitNet
from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.network import DyDitBlock, DyDitNet, watch_ratio
from engine.backbones.flops import forward_cost
from engine.backbones.shape import NetShape

LATENTS = NetShape(resolution=32, in_channels=4, num_classes=1000)
SIZES = {"S": {"depth": 12, "width": 384, "num_heads": 6}, "B": {"depth": 12, "width": 768, "num_heads": 12}}
PUBLISHED = {
    "S": {1.0: 1.0, 0.9: 1.03, 0.7: 1.27, 0.5: 1.54, 0.4: 1.71, 0.3: 2.03},
    "B": {1.0: 1.0, 0.9: 1.05, 0.7: 1.32, 0.5: 1.70, 0.4: 1.95, 0.3: 2.33},
}
"""Speed-ups of P5's Table 8 by flops_ratio."""


class Masking(DyDitNet):
    """A DyDiT as released: it multiplies by its choices and computes everything."""

    def run_blocks(self, tokens: Tensor, embedding: Tensor, noise: Tensor) -> Tensor:
        """All blocks, masked."""
        for block in self.routed:
            tokens, _ = block.masked(tokens, embedding, *block.part_scores(noise))
        return tokens


def shares(net: DyDitNet, ratio: float) -> tuple[int, float]:
    """Heads (and groups) to choose of all, and the share of tokens, for an executed ratio.

    Of p (a + m t) = ratio with shares p of heads and groups and t of tokens, p is the least whole number of
    heads not below the solution with p = t; then t is what remains.
    """
    attention, mlp = attention_cost(net.layout).macs, mlp_cost(net.layout).macs
    a, m = attention / (attention + mlp), mlp / (attention + mlp)
    alike = (math.sqrt(a * a + 4 * m * ratio) - a) / (2 * m)
    heads = math.ceil(alike * net.layout.num_heads - 1e-9)
    part = heads / net.layout.num_heads
    return heads, min(1.0, (ratio / part - a) / m)


@torch.no_grad()
def settle(block: DyDitBlock, heads: int, generator: torch.Generator) -> None:
    """Let a block choose `heads` random heads and groups, the first among them, whatever the noise level."""
    for router in (block.head_router, block.group_router):
        assert router is not None
        order = torch.rand(block.parts - 1, generator=generator).argsort().argsort()
        router.weight.zero_()
        router.bias.copy_(torch.where(order < heads - 1, 1.0, -1.0))


def settle_tokens(net: DyDitNet, inputs: tuple[Tensor, ...], share: float) -> None:
    """Let every block choose this share of the tokens of `inputs`, by the router's bias, in one pass."""

    def choose(last: nn.Linear, _: tuple[Tensor, ...], scores: Tensor) -> Tensor:
        ordered = scores.flatten().sort(descending=True).values
        ordered = torch.cat([ordered, ordered[-1:] - 1])
        count = round(share * scores.numel())
        shift = -ordered[max(count - 1, 0) : count + 1].mean()
        last.bias.add_(shift)
        return scores + shift

    routers = [block.token_router for block in net.routed]
    hooks = [router[-1].register_forward_hook(choose) for router in routers if router is not None]
    net(*inputs)
    for hook in hooks:
        hook.remove()


def networks(size: str, ratio: float, inputs: tuple[Tensor, ...]) -> tuple[DitNet, DyDitNet, DyDitNet]:
    """DiT, masking and gathering DyDiT of one size with the same weights, none of them zero."""
    config = DyDit(**SIZES[size], class_conditional=True)
    torch.manual_seed(0)
    gathering = DyDitNet(config, LATENTS).eval()
    for parameter in gathering.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    heads, share = shares(gathering, ratio)
    generator = torch.Generator().manual_seed(1)
    for block in gathering.routed:
        settle(block, heads, generator)
    settle_tokens(gathering, inputs, share)
    masking, static = Masking(config, LATENTS).eval(), DitNet(config.static, LATENTS).eval()
    masking.load_state_dict(gathering.state_dict())
    static.load_state_dict(gathering.state_dict(), strict=False)
    return static, masking, gathering


def seconds(net: DitNet, inputs: tuple[Tensor, ...]) -> float:
    """Processor time of one evaluation."""
    began = time.process_time()
    net(*inputs)
    return time.process_time() - began


def executed_share(net: DyDitNet, ratio: float) -> float:
    """FLOPs of the whole pass, routers included, over the
    static network's, at this ratio of attention and MLPs."""
    assert isinstance(net.config, DyDit)
    static = forward_cost(net.config.static, LATENTS).macs
    routed = net.layout.depth * (attention_cost(net.layout).macs + mlp_cost(net.layout).macs)
    return (forward_cost(net.config, LATENTS).macs - (1 - ratio) * routed) / static


def row(size: str, ratio: float, inputs: tuple[Tensor, ...], repeats: int) -> str:
    """One line of the table."""
    nets = networks(size, ratio, inputs)
    with watch_ratio(nets[2]) as ratios:
        apart = float((nets[1](*inputs) - nets[2](*inputs)).abs().max())
    nets[0](*inputs)
    turns = [[seconds(net, inputs) for net in nets] for _ in range(repeats)]
    static, masked, gathered = (
        1000 * statistics.median(times) / len(inputs[0]) for times in zip(*turns, strict=True)
    )
    speedup = statistics.median(turn[0] / turn[2] for turn in turns)
    executed, flops = float(ratios[0].mean()), executed_share(nets[2], float(ratios[0].mean()))
    return (
        f"{size:4} {ratio:5.1f} {executed:8.3f} {flops:6.3f} {static:9.1f} {masked:9.1f} {gathered:9.1f} "
        f"{speedup:8.2f} {speedup * flops:11.2f} {PUBLISHED[size][ratio]:6.2f} {apart:9.0e}"
    )


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="S", help="sizes of P5's Table 7, of S and B (S)")
    parser.add_argument("--ratios", default="1.0,0.9,0.7,0.5,0.4,0.3", help="values of flops_ratio")
    parser.add_argument("--batch", type=int, default=8, help="images evaluated at once (8)")
    parser.add_argument("--repeats", type=int, default=5, help="turns, of which the median is taken (5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(2)
    latents = torch.randn(arguments.batch, 4, 32, 32)
    inputs = latents, torch.full((arguments.batch,), 0.5), torch.arange(arguments.batch)
    print(f"batch {arguments.batch}, 32x32x4, patch 2, fp32, 1 thread; milliseconds an image")
    print("size ratio executed  FLOPs    static    masked  gathered speed-up  of 1/FLOPs     P5 |a - b|")
    for size in arguments.sizes.split(","):
        for ratio in map(float, arguments.ratios.split(",")):
            print(row(size, ratio, inputs, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
