"""How long a network's forward passes take while sampling, measured on fresh weights."""

import time
from dataclasses import dataclass
from statistics import median

import torch

from engine.build import build_denoiser, build_network
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape


@dataclass(frozen=True)
class ForwardTiming:
    """What some forward passes of one batch of images took."""

    seconds: float
    """Median of a pass."""
    flops_ratio: float | None
    """Share of its attention and MLPs that a DyDiT executed:
    with fresh weights it does not keep to its budget."""


@torch.inference_mode()
def measure_forwards(experiment: Experiment, count: int, device: torch.device) -> ForwardTiming:
    """Time `count` passes of the experiment's denoiser at
    the protocol's batch, after one that warms it up."""
    denoiser = build_denoiser(experiment, build_network(experiment)).to(device).eval()
    shape = net_shape(experiment)
    batch_size = experiment.eval.batch_size
    size = (batch_size, shape.in_channels, shape.resolution, shape.resolution)
    x = torch.zeros(size, dtype=torch.float64, device=device)
    label = (
        torch.zeros(batch_size, dtype=torch.int64, device=device)
        if experiment.model.class_conditional
        else None
    )
    ratio = None
    if experiment.model.executes_part:
        with experiment.model.watch_executed(denoiser.net) as ratios:
            denoiser(x, 1.0, label)
        ratio = float(torch.stack(ratios).mean())
    seconds = []
    for _ in range(1 + count):
        began = time.perf_counter()
        denoiser(x, 1.0, label)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return ForwardTiming(median(seconds[1:]), ratio)
