"""Running a sampler and its neighbours on data whose
denoiser is known exactly, as the conformance suite does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin

import torch
from pydantic import ValidationError
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.steps import DenoiseFn, DenoiseRequest, NoiseFn, State, begin_step, resume_step

IMAGES = 8
SHAPE = (1, 2, 2)
"""What is sampled where any images do: 8 of 2 x 2 grey pixels."""


@dataclass(frozen=True)
class FullPosterior:
    """Gaussian data for samplers with any reverse variance: all that a network might say, pixel by pixel.

    Nothing here mixes images, so results must not depend on which of them are sampled together, to the bit.
    """

    std: float = 0.5

    @property
    def oracle(self) -> GaussianOracle:
        """The data."""
        return GaussianOracle(self.std)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x]."""
        return self.oracle.denoise(x, sigma)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        """The mean, its exact variance, and a learned coordinate a third of the way up from the middle."""
        return replace(self.oracle.posterior(x, sigma), range_fraction=torch.full_like(x, 1 / 3))

    def probe(self, x: Tensor, sigma: float, signs: Tensor) -> Posterior:
        """The mean and its exact variance, which any signs give."""
        return self.oracle.probe(x, sigma, signs)


def neighbours(sampler: SamplerBase) -> list[SamplerBase]:
    """The sampler, and those that differ from it in one field or in one field and the number of steps."""
    found = [sampler]
    for one in (sampler, *at_steps(sampler, (1, 2))):
        for field in type(sampler).model_fields:
            for value in _other_values(sampler, field):
                found += _valid(one, {field: value})
    return found


def cheap_neighbours(sampler: SamplerBase) -> list[SamplerBase]:
    """Those that cost at most 20 times the sampler itself, which are quick to run."""
    return [one for one in neighbours(sampler) if one.evaluations <= 20 * sampler.evaluations]


def at_steps(sampler: SamplerBase, counts: Sequence[int]) -> list[SamplerBase]:
    """The sampler with other numbers of steps, where it allows them."""
    return [one for count in counts for one in _valid(sampler, {"num_steps": count})]


def run(
    sampler: SamplerBase,
    denoise: DenoiseFn | None = None,
    *,
    keys: Tensor | None = None,
    shape: tuple[int, ...] = SHAPE,
    noise_seed: int = 0,
) -> Tensor:
    """Its images [len(keys), *shape] of keyed latents and noise, of Gaussian data unless told otherwise."""
    keys = torch.arange(IMAGES) if keys is None else keys
    noise = step_noise(keys, noise_seed, shape)
    return sampler.sample(denoise or FullPosterior(), latents(keys, shape), noise)


def latents(keys: Tensor, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Standard normal float64 [len(keys), *shape], a function of each key alone."""
    return normal(0, Purpose.LATENT, keys, shape)


def step_noise(keys: Tensor, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> NoiseFn:
    """Noise by the number of the step, a function of seed, key and step alone."""
    return lambda step: normal(seed, Purpose.SAMPLER_STEP, keys, shape, step)


def first_request(sampler: SamplerBase, denoise: DenoiseFn) -> DenoiseRequest:
    """The first question of a run: where, in the coordinates of x0 + sigma eps, it enters the ODE."""
    keys = torch.arange(64)
    state = State(latents(keys, (1,)))
    for action in sampler.program():
        found = resume_step(begin_step(action, state, step_noise(keys, shape=(1,))))
        if isinstance(found, DenoiseRequest):
            return found
        state = found
    raise ValueError(f"{sampler.label} never asks for x0_hat")


def _other_values(sampler: SamplerBase, field: str) -> Iterator[object]:
    """Values of a field beside the sampler's own: all of a choice; near a number, and its levels."""
    own = getattr(sampler, field)
    annotation = type(sampler).model_fields[field].annotation
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(own, bool):
        yield not own
    elif isinstance(own, int):
        yield own + 1
    elif isinstance(own, tuple):
        yield None
    else:
        yield from (0.0, 0.5, 1.0, 0.9 * (own or 1.0), 1.1 * (own or 1.0), 30.0, None)
        if own is None:  # perhaps a count that is left open
            yield 1
        yield from sampler.levels.get(field, ())


def _valid(sampler: SamplerBase, changes: dict[str, object]) -> list[SamplerBase]:
    """The sampler with these changes; nothing where it does not allow them."""
    try:
        return [type(sampler).model_validate(sampler.model_dump() | changes)]
    except ValidationError:
        return []
