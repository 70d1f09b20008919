"""Noise keyed by what it is for: a value is a function of
(seed, purpose, item, step), never of a generator's state.

So a sample does not change when the batch is split over more workers, when other cells
run beside it, or when training resumes in the middle. The generator is the
counter-based Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2,
3" (SC 2011), written as tensor operations: one call fills a whole batch on any device.
"""

import math
from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Purpose(IntEnum):
    """What a stream of noise is for; streams of different purposes are independent."""

    LATENT = 0
    SAMPLER_STEP = 1
    NOISE_LEVEL = 2
    TRAINING_NOISE = 3
    FLIP = 4
    SHUFFLE = 5
    DROPOUT = 6
    WEIGHTS = 7
    AUGMENT = 8
    LABEL_DROPOUT = 9
    PROJECTION = 10
    LOSS_SOURCE = 11
    LOSS_NOISE = 12
    LOSS_SUBSET = 13
    BOUND = 14
    DEQUANTISATION = 15
    PROBE = 16


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10: four words of 32 bits (as int64, shape [..., 4]) for each counter of four words."""
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, low0 = (product0 >> 32) & _MASK, product0 & _MASK
        high1, low1 = (product1 >> 32) & _MASK, product1 & _MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return torch.stack([c0, c1, c2, c3], dim=-1)


def _words(seed: int, purpose: Purpose, items: Tensor, step: int, count: int) -> Tensor:
    """At least `count` words of 32 random bits per item: int64, shape [items, 4 * blocks]."""
    blocks = torch.arange(-(-count // 4), device=items.device)
    counter = torch.empty(len(items), len(blocks), 4, dtype=torch.int64, device=items.device)
    counter[..., 0] = blocks
    counter[..., 1] = items[:, None]
    counter[..., 2] = step
    counter[..., 3] = int(purpose)
    return philox(counter, (seed & _MASK, (seed >> 32) & _MASK)).flatten(1)


def generator_seed(seed: int, purpose: Purpose, item: int) -> int:
    """A 32-bit seed for code that can only take a generator, such as dropout."""
    return int(_words(seed, purpose, torch.tensor([item]), 0, 1)[0, 0])


def uniform(seed: int, purpose: Purpose, items: Tensor, step: int = 0) -> Tensor:
    """One float64 in the open interval (0, 1) per item; shape [items]."""
    return uniforms(seed, purpose, items, 1, step)[:, 0]


def uniforms(seed: int, purpose: Purpose, items: Tensor, count: int, step: int = 0) -> Tensor:
    """Independent float64 draws from the open interval (0, 1), `count` per item; shape [items, count]."""
    return (_words(seed, purpose, items, step, count)[:, :count].double() + 0.5) / 2**32


def normal(seed: int, purpose: Purpose, items: Tensor, shape: tuple[int, ...], step: int = 0) -> Tensor:
    """Standard normal float64 noise of shape [items, *shape], by the Box-Muller transform of pairs of words.

    `items` is an int64 tensor of indices below 2^32, on the device where the noise is wanted.
    """
    count = math.prod(shape)
    words = _words(seed, purpose, items, step, count + count % 2).double()
    half = words.shape[1] // 2
    radius = torch.sqrt(-2 * torch.log((words[:, :half] + 0.5) / 2**32))
    angle = words[:, half:] * (2 * math.pi / 2**32)
    pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return pairs.flatten(1)[:, :count].reshape(len(items), *shape)
