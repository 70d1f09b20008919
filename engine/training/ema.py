"""Exponential moving average of the weights, with its length given as a half-life in images."""

import copy

import torch
from torch import Tensor, nn

from engine.train_spec import Train


def ema_decay(train: Train, images_shown: int) -> float:
    """Weight of the old average in one update [P3, code; playbook 4.0].

    0.5 ** (batch / half-life), the half-life being at most `ema_rampup_ratio` of the images shown before the step; the
    first step copies the weights.
    """
    halflife = train.ema_halflife_kimg * 1000
    if train.ema_rampup_ratio is not None:
        halflife = min(halflife, images_shown * train.ema_rampup_ratio)
    return 0.5 ** (train.batch_size / halflife) if halflife > 0 else 0.0


class Ema:
    """A second copy of a network whose parameters trail the trained ones; buffers are copied, never averaged."""

    def __init__(self, net: nn.Module) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, decay: float) -> None:
        """average = decay * average + (1 - decay) * weights, all tensors in one call."""
        averages: list[Tensor] = list(self.net.parameters())
        weights: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, buffer in zip(self.net.buffers(), net.buffers(), strict=True):
            average.copy_(buffer)
