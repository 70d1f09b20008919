"""At another batch shape images change by no more than the network's own rounding explains."""

import copy
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.euler import Euler
from engine.samplers.steps import DenoiseRequest
from engine.sampling.prefix_sharing import prefix_tree, sample_shared
from engine.sampling.step_packing import PackedSteps

IMAGES, SHAPE = 4, (1, 8, 8)
SAMPLERS = [Euler(num_steps=6), Euler(num_steps=6, sigma_max=60.0)]
SILU_SLOPE = 1.1
"""The largest slope of SiLU is 1.0998."""


class Convolution(torch.nn.Module):
    """A small network whose slope is known, in single precision;
    its double answers without rounding to speak of.

    At another batch than 64 it sums its features in another
    order, as libraries do on some machines and shapes.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Conv2d(1, 64, 3, padding=1), torch.nn.Conv2d(64, 1, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, label: None, augment: None = None) -> Tensor:
        x, c_noise = x.to(self.last.weight.dtype), c_noise.to(self.last.weight.dtype)
        hidden = torch.nn.functional.silu(self.first(x) + c_noise[:, None, None, None])
        order = torch.arange(hidden.shape[1]) if len(x) == 64 else torch.arange(hidden.shape[1]).flip(0)
        terms = [
            torch.nn.functional.conv2d(hidden[:, part], self.last.weight[:, part], padding=1)
            for part in order.split(8)
        ]
        output = torch.stack(terms).cumsum(0)[-1] + self.last.bias[:, None, None]
        return output

    @property
    def slope(self) -> float:
        """Largest change of an output for a change of at most 1 of every input:
        layers' largest sums multiply."""
        sums = [
            float(layer.weight.detach().abs().sum(dim=(1, 2, 3)).max()) for layer in (self.first, self.last)
        ]
        return sums[0] * SILU_SLOPE * sums[1]


def x0_hat_exact(net: Convolution, x: Tensor, sigma: float) -> Tensor:
    """The denoiser all in float64, from the preconditioning's formula."""
    c = Preconditioning(EdmProcess(), "F")(torch.tensor([sigma], dtype=torch.float64))
    return c.c_skip * x + c.c_out * copy.deepcopy(net).double()(c.c_in * x, c.c_noise, None)


@torch.inference_mode()
def images_and_rounding(net: Convolution, batch_size: int) -> tuple[dict[int, Tensor], dict[float, float]]:
    """Images of a common pass at a batch shape;
    and per noise level, how far x0_hat was from the exact one there."""
    packed, rounding, images = (
        PackedSteps(Guided(Denoiser(net, Preconditioning(EdmProcess(), "F")), None), batch_size),
        {},
        {},
    )

    def answer(asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        found = packed(asked)
        for ask, posterior in zip(asked, found, strict=True):
            error = float((posterior.x0_hat - x0_hat_exact(net, ask.x, ask.sigma)).abs().max())
            rounding[ask.sigma] = max(error, rounding.get(ask.sigma, 0.0))
        return found

    tree = prefix_tree((number, sampler.program()) for number, sampler in enumerate(SAMPLERS))
    latents = normal(0, Purpose.LATENT, torch.arange(IMAGES), SHAPE)
    sample_shared(tree, answer, latents, lambda step: latents, images.__setitem__, batch_size // IMAGES)
    return images, rounding


@pytest.mark.parametrize("batch_size", [4, 8, 128])
def test_images_at_another_batch_shape_stay_within_the_networks_measured_rounding(batch_size: int) -> None:
    net = Convolution()
    expected, here = images_and_rounding(net, 64)
    found, there = images_and_rounding(net, batch_size)
    assert max(here.values()) > 0
    for number, sampler in enumerate(SAMPLERS):
        # Euler: x' = (1 - s) x + s D(x), s = 1 - sigma' / sigma. Both shapes' D differ from the exact one, of
        # slope L, by what was measured, so the difference e of the states becomes at most (1 - s) e + s (L e
        # + both roundings).
        difference = 0.0
        for sigma, sigma_next in pairwise(sampler.sigmas):
            c = Preconditioning(EdmProcess(), "F")(torch.tensor([sigma], dtype=torch.float64))
            slope, part = float(c.c_skip.abs() + (c.c_out * c.c_in).abs() * net.slope), 1 - sigma_next / sigma
            difference = (1 - part) * difference + part * (slope * difference + here[sigma] + there[sigma])
        # Sums in float64 are left out above: the largest state
        # is 80 times the latents, of 1e-16 relative rounding.
        assert 0 < float((found[number] - expected[number]).abs().max()) <= difference + 1e-12
        assert difference * 127.5 < 0.5  # grey levels: nothing to be seen
