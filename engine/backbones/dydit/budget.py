"""DyDiT's budget: any diffusion loss plus the squared distance
of executed FLOPs from their target [P5; playbook 3.5].

The ratio counts attention and MLPs of all blocks, executed over static,
and its mean over a forward pass of one worker is what meets the budget, as
in the released code: single images and noise levels may cost more or less.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.network import DyDitNet

Losses = dict[str, Tensor]
"""Values per image [B] by their names."""


def budget_losses(
    model: DyDit, diffusion: Callable[[], Losses], net: nn.Module, images_shown: int, pixels: int
) -> Losses:
    """loss = diffusion + pixels flops_weight (mean ratio - target)^2, and in the warm-up the complete
    network's loss.

    `diffusion` evaluates `net`, a DyDitNet, on one batch. Values per image [B]; `diffusion` is
    the routed network's loss, `complete` the complete one's, 0 once the warm-up is over [playbook 4.4].
    `pixels` is 1 for a loss that is a mean over pixels, which P5's weight is for, and their number for a sum.
    """
    assert isinstance(net, DyDitNet)
    ratios: list[Tensor] = []
    with net.watched_by(ratios.append):
        terms = diffusion()
    routed = terms["loss"]
    ratio = torch.stack(ratios).mean(0)
    off_target = ratio.mean() - target_ratio(model, images_shown)
    penalty = pixels * model.flops_weight * off_target.square()
    terms |= {"loss": routed + penalty, "diffusion": routed, "flops_ratio": ratio.detach()}
    if model.complete_kimg > 0:
        complete = torch.zeros_like(routed)
        if images_shown < model.complete_kimg * 1000:
            with net.complete():
                complete = diffusion()["loss"]
        terms |= {"loss": terms["loss"] + complete, "complete": complete}
    return terms


def target_ratio(model: DyDit, images_shown: int) -> float:
    """The budget's target: 1 for `dense_kimg`, then linearly down to `flops_ratio`.

    With `ramp: after_dense` the line begins there, at 1, and takes `ramp_kimg`. With `released` it begins
    at the first image and is only followed from `dense_kimg` on, so that `flops_ratio` is reached at
    `ramp_kimg` [P5, code: at a budget of 0.5 the steps 99, 100, 600 and 1,000 have 1, 0.95, 0.70 and 0.50].
    """
    kimg = images_shown / 1000
    if model.ramp == "released":
        is_dense = kimg < model.dense_kimg
        into_ramp = kimg
    else:
        into_ramp = kimg - model.dense_kimg
        is_dense = into_ramp <= 0
    if is_dense:
        return 1.0
    progress = min(into_ramp / model.ramp_kimg, 1.0) if model.ramp_kimg else 1.0
    return 1 + progress * (model.flops_ratio - 1)
