"""Pieces that networks of several kinds are made of: the noise level's waves, classes, initial weights."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside, whatever is around it. Tensors without memory have none to switch off."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def sinusoidal_embedding(c_noise: Tensor, channels: int, *, endpoint: bool, sine_first: bool) -> Tensor:
    """Sines and cosines [B, channels] of `c_noise` [B] at
    channels / 2 frequencies that fall geometrically from 1.

    With `endpoint` the last frequency is 1 / 10000 (EDM), without it the one after would be (iDDPM). EDM puts
    the sines first, iDDPM the cosines.
    """
    half = channels // 2
    exponents = torch.arange(half, device=c_noise.device, dtype=torch.float32) / (
        half - 1 if endpoint else half
    )
    angles = c_noise.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    waves = (angles.sin(), angles.cos()) if sine_first else (angles.cos(), angles.sin())
    return torch.cat(waves, dim=1)


def one_hot(label: Tensor, num_labels: int, *, has_null: bool) -> Tensor:
    """One-hot vectors fp32 [B, num_labels] of classes [B]; with `has_null`, zeros for label -1."""
    if not has_null:
        return F.one_hot(label, num_labels).float()
    return F.one_hot(label + 1, num_labels + 1)[:, 1:].float()


def xavier_init(layer: Layer, gain: float = 1.0) -> Layer:
    """The layer with zero bias and weights uniform on +-gain * sqrt(6 / (fan_in + fan_out))."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def zero_init(layer: Layer) -> Layer:
    """The layer with all weights 0, so that at first it adds nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
