"""Small facts of released programs that docstrings claim,
restated here from the programs and not from our code."""

import math

import numpy as np
import pytest
import torch

from engine.backbones.dit.layout import dit_layout
from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.cost import squeezed_width
from engine.backbones.dydit.network import choice, token_router, width_router
from engine.backbones.shape import NetShape
from engine.data.datasets import to_uint8
from engine.objectives.losses.bound import bound_tables
from engine.process.processes import DiscreteProcess

SHAPE = NetShape(4, 32, 1000)


def test_edm_rounds_to_bytes_by_adding_half_and_cutting_off() -> None:
    """`(images * 127.5 + 128).clip(0, 255)` as bytes: numpy's cast cuts off.
    improved-diffusion's `(x + 1) * 127.5` is half a level lower."""
    x = np.linspace(-1.2, 1.2, 4801, dtype=np.float32)
    edms = np.clip(x * np.float32(127.5) + np.float32(128), 0, 255).astype(np.uint8)
    assert np.array_equal(to_uint8(torch.from_numpy(x)).numpy(), edms)
    improved = np.clip((x + np.float32(1)) * np.float32(127.5), 0, 255).astype(np.uint8)
    assert not np.array_equal(edms, improved)


@pytest.mark.parametrize("num_timesteps", [1000, 4000])
def test_the_first_timesteps_variance_is_the_seconds_in_p1s_code(num_timesteps: int) -> None:
    """`posterior_log_variance_clipped = log(append(posterior_variance[1],
    posterior_variance[1:]))`, betas linear from 0.1 / T to 20 / T."""
    betas = np.linspace(0.1 / num_timesteps, 20 / num_timesteps, num_timesteps)
    bars = np.cumprod(1 - betas)
    posterior = betas[1:] * (1 - bars[:-1]) / (1 - bars[1:])
    clipped = np.log(np.append(posterior[0], posterior))
    gain, span, first = bound_tables(DiscreteProcess(schedule="linear", num_timesteps=num_timesteps))
    assert first == pytest.approx(clipped[0], rel=1e-9)
    # beta over beta_tilde, by timestep; the first is beta_0 over beta_tilde_1.
    assert np.allclose(span, np.log(betas) - clipped, rtol=0, atol=1e-9)
    assert gain[0] == 0


@pytest.mark.parametrize(("size", "width"), [("S", 384), ("B", 768), ("XL", 1152)])
def test_a_dydits_token_router_narrows_to_a_sixteenth(size: str, width: int) -> None:
    model = DyDit(width=width, depth=1, num_heads=width // 64, patch_size=2)
    layout = dit_layout(model, SHAPE)
    assert squeezed_width(layout) == {"S": 24, "B": 48, "XL": 72}[size]
    first, _, last = token_router(layout)
    assert (first.out_features, last.out_features) == (width // 16, 1)


def test_a_fresh_dydit_chooses_everything_by_the_releases_biases() -> None:
    """+15 for heads and groups, all but one of which have a score; +35 for tokens."""
    layout = dit_layout(DyDit(width=64, depth=1, num_heads=4, patch_size=2), SHAPE)
    heads = width_router(64, 4)
    assert heads.out_features == 3
    assert heads.bias.tolist() == [15.0] * 3
    assert token_router(layout)[-1].bias.tolist() == [35.0]


def test_the_gradient_of_a_choice_is_that_of_a_sigmoid_five_times_as_soft() -> None:
    """d/ds sigmoid(s / 5) at s = 0 and at s = 5, in single precision."""
    score = torch.tensor([0.0, 5.0], dtype=torch.float64, requires_grad=True)
    choice(score, noisy=False).sum().backward()
    expected = [1 / 20, math.exp(-1) / (1 + math.exp(-1)) ** 2 / 5]
    assert score.grad is not None
    assert score.grad.tolist() == pytest.approx(expected, rel=1e-6)
