"""Moving averages of the weights: exponential ones by half-life and power-function ones by relative width."""

import copy

import torch
from torch import Tensor, nn

from engine.config.train import Train
from engine.config.weights import EmaWeights, PowerWeights, tracked_weights
from engine.training.posthoc import power_gamma


def ema_decay(train: Train, images_shown: int, halflife_kimg: float | None = None) -> float:
    """Weight of the old average in one update [P3, code; playbook 4.0]; None means the primary half-life.

    0.5 ** (batch / half-life), the half-life being at most `ema_rampup_ratio`
    of the images shown before the step; the first step copies the weights.
    """
    halflife = (train.ema_halflife_kimg if halflife_kimg is None else halflife_kimg) * 1000
    if train.ema_rampup_ratio is not None:
        halflife = min(halflife, images_shown * train.ema_rampup_ratio)
    return 0.5 ** (train.batch_size / halflife) if halflife > 0 else 0.0


def power_decay(train: Train, images_shown: int, gamma: float) -> float:
    """Weight of the old power-function average in one update, (1 - batch / t)
    ** (gamma + 1), t counting this batch.

    The first step copies the weights. The weights of all
    steps then add up to exactly the profile tau^gamma (EDM2).
    """
    return float((images_shown / (images_shown + train.batch_size)) ** (gamma + 1))


class Ema:
    """A second copy of a network whose parameters trail the trained ones;
    buffers are copied, never averaged."""

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


class EmaSet:
    """All averages of one training by name ("ema" is the primary one, "ema_halflife_50", "power_0.05")."""

    def __init__(self, net: nn.Module, train: Train) -> None:
        self.train = train
        self.tracked = tracked_weights(train)
        self.gammas = {
            weights: power_gamma(weights.sigma_rel) for weights in self.tracked if weights.kind == "power"
        }
        self.averages = {weights.name: Ema(net) for weights in self.tracked}

    @property
    def net(self) -> nn.Module:
        """The primary average's network."""
        return self.averages["ema"].net

    def update(self, net: nn.Module, images_shown: int) -> None:
        """Take in the weights after a step, before which `images_shown` images had been shown."""
        for weights in self.tracked:
            self.averages[weights.name].update(net, self.decay(weights, images_shown))

    def decay(self, weights: EmaWeights | PowerWeights, images_shown: int) -> float:
        """Weight of an old average in one update."""
        if weights.kind == "power":
            return power_decay(self.train, images_shown, self.gammas[weights])
        return ema_decay(self.train, images_shown, weights.halflife_kimg)
