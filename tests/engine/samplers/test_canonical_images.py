"""The canonical form tells samplers apart exactly as their images do, on random configurations."""

import json
import math
import random
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.registry import SAMPLERS
from engine.samplers.timesteps import TAU_RULES

pytestmark = pytest.mark.slow

ITEMS, SHAPE = torch.arange(4), (64,)

GRID = {
    "grid": ["edm", "edm", "vp", "ve", "iddpm"],
    "sigma_min": [0.002, 0.02],
    "sigma_max": [80.0, 100.0],
    "rho": [3.0, 7.0],
}
CHAIN = {
    "tau": list(TAU_RULES),
    "schedule": ["linear", "cosine"],
    "num_timesteps": [5, 20],
    "clip_pixels": [None, 1.0, 2.0, 30.0],
    "clip_pixels_for": ["known_covariance", "every_covariance"],
}
CHOICES: dict[str, dict[str, list[Any]]] = {
    "ddim": CHAIN
    | {
        "eta": [0.0, 0.5, 1.0],
        "noisy": [True, False],
        "covariance": ["none", "analytic", "ocm"],
        "clip": ["none", "x0", "x0_and_eps"],
    },
    "ddpm": CHAIN
    | {"covariance": ["beta", "beta_tilde", "learned_range", "analytic", "ocm"], "clip_x0": [True, False]},
    "euler": GRID,
    "heun": GRID,
    "edm_stochastic": GRID
    | {
        "s_churn": [0.0, 1.0, 10.0, 100.0],
        "s_tmin": [0.0, 0.05, 90.0],
        "s_tmax": [1.0, 80.0, 200.0],
        "s_noise": [1.0, 1.003],
    },
    "dpm2": GRID,
    "dpm_solver_pp": GRID
    | {"eta": [0.0, 0.5, 1.0], "s_noise": [1.0, 1.003], "solver_type": ["midpoint", "heun"]},
    "lms": GRID | {"solver_order": [1, 2, 3, 4]},
    "deis": GRID | {"solver_order": [1, 2, 3]},
    "unipc": GRID | {"solver_order": [1, 2, 3], "variant": ["bh1", "bh2"]},
    "flow": {"method": ["euler", "heun", "rk4"], "path": ["linear", "vp"], "sigma_max": [None, 80.0, 100.0]},
}


class Asked:
    """A denoiser far from linear that often overshoots [-1, 1] and knows every kind of variance;
    counts its calls."""

    def __init__(self, covariance: str) -> None:
        self.phase, self.calls = {"ocm": 0.0, "analytic": 1.0}.get(covariance, 2.0), 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        unit = x / math.sqrt(1 + sigma**2)
        return 0.7 * unit + 0.5 * (5 * unit).sin() + 0.05 * math.sin(math.log(sigma))

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        variance = sigma**2 / (1 + sigma**2) * (0.5 + 0.5 * (x + self.phase).cos())
        return Posterior(self(x, sigma), (2 * x).sin(), variance)


@cache
def unit_noise(step: int) -> Tensor:
    return normal(0, Purpose.SAMPLER_STEP, ITEMS, SHAPE, step)


def images(sampler: SamplerBase) -> bytes:
    denoise = Asked(getattr(sampler, "covariance", ""))
    x = sampler.sample(denoise, normal(0, Purpose.LATENT, ITEMS, SHAPE), unit_noise)
    assert denoise.calls == sampler.evaluations
    return x.numpy().tobytes()


def some_samplers(kind: str, count: int) -> set[SamplerBase]:
    """Valid random configurations with few steps, where most collapses lie."""
    chance, found = random.Random(kind), set()
    for _ in range(count):
        fields = {name: chance.choice(values) for name, values in CHOICES[kind].items()}
        try:
            found.add(SAMPLERS[kind](num_steps=chance.choice([1, 2, 3, 5]), **fields))
        except ValidationError:
            continue
    return found


def may_clip(form: dict[str, Any]) -> bool:
    """Whether two limits may give the same images by luck: where all pixels reach both, or none does."""
    return "clip" in form or form.get("clip_pixels") is not None


@pytest.mark.parametrize(
    "kinds",
    [
        ("ddim", "ddpm"),
        ("euler", "heun", "edm_stochastic"),
        ("euler", "dpm2", "dpm_solver_pp", "lms", "deis", "unipc"),
        ("flow",),
    ],
    ids=str,
)
def test_samplers_have_one_form_exactly_when_they_have_the_same_images(kinds: tuple[str, ...]) -> None:
    images_of, forms_of = defaultdict(set), defaultdict(set)
    for sampler in set().union(*(some_samplers(kind, 250) for kind in kinds)):
        form, pixels = sampler.canonical().form, images(sampler)
        images_of[json.dumps(form, sort_keys=True)].add(pixels)
        if not may_clip(form):
            forms_of[pixels].add(json.dumps(form, sort_keys=True))
    assert len(forms_of) > 50
    assert [form for form, different in images_of.items() if len(different) > 1] == []
    assert [forms for forms in forms_of.values() if len(forms) > 1] == []
