"""Does a sampler keep its word? Checks that every sampler must pass, to be run by a test of its own.

    import pytest
    from engine.evaluation.sampler_conformance import CHECKS, Check

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_midpoint_keeps_its_word(check: Check) -> None:
        check(Midpoint(num_steps=8))

A check takes one configuration and looks at its neighbours too: other numbers of steps, other values of every
field. It raises ConformanceError, which says in words what was promised and what was found. Data are Gaussian
or a mixture of two, whose denoiser and probability-flow ODE are known exactly, so no network is involved.
"""

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle, MixtureOracle
from engine.evaluation.sampler_probing import (
    IMAGES,
    FullPosterior,
    at_steps,
    cheap_neighbours,
    first_request,
    latents,
    neighbours,
    run,
    step_noise,
)
from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.steps import (
    DenoiseRequest,
    State,
    answer_request,
    begin_step,
    history_kept,
    resume_step,
)
from engine.sampling.prefix_sharing import prefix_tree, sample_shared

Check = Callable[[SamplerBase], None]
"""Raises ConformanceError for a sampler that does not keep its word."""

STEP_COUNTS = (1, 2, 3, 7, 18)
"""Numbers of steps at which costs are counted: the ends, where methods change their form, and between."""

ORDER_STEPS = (16, 32, 64, 128, 256)
"""Numbers of steps whose results are compared to measure an order of 1."""

FINE_ORDER_STEPS = (64, 128, 256, 512, 1024)
"""The same for higher orders: there the lowest power of the step size rules only once steps are small."""

ORDER_TOLERANCE = 0.35
"""How far a measured order may be off: a chain visits whole timesteps alone, which scatters its errors."""

LAST_LEVEL_ERROR = 1e-3
"""What no number of steps removes: the step from the smallest noise level to 0. Data have a spread near 1."""

ROUNDING = 1e-11
"""Differences below this are float64's, and say nothing of an order."""


class ConformanceError(AssertionError):
    """A sampler does something else than it declares."""


def check_fields(sampler: SamplerBase) -> None:
    """What its fields accept it can do: a value that makes
    no sampler has to be refused while a grid is read."""
    for one in neighbours(sampler):
        try:
            one.canonical()
            one.program()
        except Exception as error:
            raise ConformanceError(
                f"{one!r} is accepted, and fails when it is planned ({type(error).__name__}: {error}): "
                "limit the field, as Field(gt=0) does, or refuse the combination in a validator"
            ) from error


def check_cost(sampler: SamplerBase) -> None:
    """The declared evaluations and `nfe` are those that a run asks for."""
    for one in at_steps(sampler, STEP_COUNTS):
        counted = 0

        class Counting(FullPosterior):
            def __call__(self, x: Tensor, sigma: float) -> Tensor:
                nonlocal counted
                counted += 1
                return super().__call__(x, sigma)

            def posterior(self, x: Tensor, sigma: float) -> Posterior:
                nonlocal counted
                counted += 1
                return super().posterior(x, sigma)

            def probe(self, x: Tensor, sigma: float, signs: Tensor) -> Posterior:
                nonlocal counted
                counted += 2
                return super().probe(x, sigma, signs)

        run(one, Counting())
        by_step = sum(step.evaluations for step in one.program())
        _expect(one.evaluations == counted, one, f"declares {one.evaluations} evaluations and asks {counted}")
        _expect(by_step == counted, one, f"has steps that declare {by_step} evaluations and asks {counted}")
        nfe = counted * (1 if one.guidance in (0, 1) else 2)
        _expect(one.nfe == nfe, one, f"declares {one.nfe} network evaluations and needs {nfe}")


def check_determinism(sampler: SamplerBase) -> None:
    """`deterministic` says whether images depend on the steps' noise; equal noise gives equal images."""
    for one in (sampler, *at_steps(sampler, STEP_COUNTS)):
        first, again, other = (run(one, noise_seed=seed) for seed in (0, 0, 1))
        _expect(torch.equal(first, again), one, "gives other images the second time")
        _expect(bool(first.isfinite().all()), one, "gives images that are not finite")
        same = torch.equal(first, other)
        if one.deterministic:
            _expect(same, one, "calls itself deterministic, and its images change with the noise")
        else:
            _expect(not same, one, "does not call itself deterministic, and its images keep under any noise")


def check_batch_split(sampler: SamplerBase) -> None:
    """An image does not depend on which others are sampled with it."""
    keys = torch.arange(IMAGES)
    whole = run(sampler, keys=keys)
    parts = torch.cat([run(sampler, keys=part) for part in (keys[:3], keys[3:])])
    _expect(torch.equal(whole, parts), sampler, "gives an image that depends on the others of its batch")


def check_canonical_form(sampler: SamplerBase) -> None:
    """Two configurations have equal canonical forms exactly when they have equal programs; forms are JSON."""
    by_form: dict[str, SamplerBase] = {}
    by_program: dict[object, SamplerBase] = {}
    for one in neighbours(sampler):
        form = _form(one)
        actions = (one.guiding, one.program())
        twin = by_form.setdefault(form, one)
        alike = actions == (twin.guiding, twin.program())
        _expect(alike, one, f"has the form of [{twin!r}] and acts otherwise")
        twin = by_program.setdefault(actions, one)
        _expect(form == _form(twin), one, f"acts as [{twin!r}] and has another form")


def check_round_trip(sampler: SamplerBase) -> None:
    """A configuration written as JSON and read again is equal, and has the same canonical form."""
    for one in neighbours(sampler):
        again = type(one).model_validate_json(one.model_dump_json())
        _expect(again == one, one, f"comes back from JSON as {again!r}")
        _expect(again.canonical() == one.canonical(), one, "has another canonical form after a round trip")


def check_shared_run(sampler: SamplerBase) -> None:
    """In a shared run with its neighbours it gives the images, to the bit, that it gives alone."""
    samplers = [one for one in cheap_neighbours(sampler) if one.guiding == sampler.guiding]
    tree = prefix_tree((number, one.program()) for number, one in enumerate(samplers))
    keys = torch.arange(IMAGES)
    denoise = FullPosterior()

    def answer(requests: Sequence[DenoiseRequest]) -> list[Posterior]:
        return [answer_request(request, denoise) for request in requests]

    for together in (1, 3):
        images: dict[int, Tensor] = {}
        sample_shared(tree, answer, latents(keys), step_noise(keys), images.__setitem__, together)
        for number, one in enumerate(samplers):
            _expect(
                torch.equal(images[number], run(one)), one, "gives other images in a shared run than alone"
            )


def check_history(sampler: SamplerBase) -> None:
    """Every step leaves the history that it declares, as memory is counted by it; the last leaves none."""
    keys = torch.arange(IMAGES)
    for one in cheap_neighbours(sampler):
        state = State(latents(keys))
        for place, step in enumerate(one.program()):
            under_way = begin_step(step, state, step_noise(keys))
            found = resume_step(under_way)
            while isinstance(found, DenoiseRequest):
                found = resume_step(under_way, answer_request(found, FullPosterior()))
            state = found
            left = len(state.history)
            declared = history_kept(step)
            _expect(
                left == declared,
                one,
                f"has a step {place} that leaves {left} tensors and declares {declared}",
            )
        _expect(not state.history, one, "ends with a history that nobody looks at")


def check_names(sampler: SamplerBase) -> None:
    """It has a label that tells the guidance, a family, and levels that are values of its own fields."""
    guided = sampler.model_copy(update={"guidance": 2.0})
    _expect(bool(sampler.label) and bool(sampler.family), sampler, "has no label or no family")
    _expect(guided.label.endswith(guided.suffix), guided, f"has a label, {guided.label!r}, without `suffix`")
    for field, values in sampler.levels.items():
        _expect(field in type(sampler).model_fields, sampler, f"has levels of {field}, which is no field")
        for value in values:
            type(sampler).model_validate(sampler.model_dump() | {field: value})


def check_order(sampler: SamplerBase) -> None:
    """With more steps it approaches the probability-flow ODE's endpoint, at the order that it declares.

    Nothing is checked where no order is declared. Results x_N at N, 2 N, 4 N, ... steps fall together as
    |x_2N - x_N| ~ N^-p; p is the slope of a straight line through their logarithms. The differences are taken
    and not the errors, because a part of the error that no number of steps removes (the last step, from the
    smallest noise level to 0) would flatten the line.
    """
    declared = sampler.order
    steps = ORDER_STEPS if declared is None or declared <= 1 else FINE_ORDER_STEPS
    ladder = at_steps(sampler, steps)
    if declared is None or any(one.order != declared for one in ladder):
        return
    means = torch.tensor([[-1.0], [0.8]], dtype=torch.float64)
    mixture = MixtureOracle(means, 0.4, torch.tensor([0.3, 0.7], dtype=torch.float64))
    for name, oracle in (("Gaussian data", GaussianOracle(0.8)), ("a mixture", mixture)):
        results = [run(one, oracle.denoise, shape=(1,), keys=torch.arange(64)) for one in ladder]
        measured = measured_order(steps, results)
        fits = measured > declared - ORDER_TOLERANCE
        if oracle is mixture:
            # Not of Gaussian data: their ODE is linear, and there errors may cancel that do not elsewhere.
            # The midpoint method on EDM's grid is of third order on them.
            fits = fits and measured < declared + ORDER_TOLERANCE
        _expect(fits, sampler, f"declares order {declared} and has {measured:.2f} on {name}")
        start = first_request(ladder[-1], oracle.denoise)
        missed = float((results[-1] - oracle.ode_endpoint(start.x, start.sigma)).abs().max())
        # At order p the error left is 1 / (2^p - 1) of the last difference: at most all of it.
        still_moving = float((results[-1] - results[-2]).abs().max())
        near = missed < 2 * still_moving + LAST_LEVEL_ERROR
        _expect(near, sampler, f"ends {missed:.3f} from the probability-flow ODE's endpoint on {name}")


CHECKS: tuple[Check, ...] = (
    check_names,
    check_fields,
    check_cost,
    check_determinism,
    check_batch_split,
    check_canonical_form,
    check_round_trip,
    check_history,
    check_shared_run,
    check_order,
)
"""All of them, the cheapest first."""


def measured_order(steps: Sequence[int], results: Sequence[Tensor]) -> float:
    """Order of convergence at rising numbers of steps: minus the slope of ln |x_2N - x_N| over ln N.

    The line is that of least squares; infinity where all results are the same to float rounding.
    """
    logs = []
    for count, (coarse, fine) in zip(steps, pairwise(results), strict=False):
        distance = float((fine - coarse).square().mean().sqrt())
        if distance > ROUNDING:
            logs.append((math.log(count), math.log(distance)))
    if len(logs) < 2:
        return math.inf
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return -covariance / sum((x - mean_x) ** 2 for x, _ in logs)


def _form(sampler: SamplerBase) -> str:
    """The canonical form as identities see it."""
    return json.dumps(sampler.canonical().form, sort_keys=True)


def _expect(holds: bool, sampler: SamplerBase, otherwise: str) -> None:
    """ConformanceError unless it holds."""
    if not holds:
        raise ConformanceError(f"{sampler.label} ({sampler!r}) {otherwise}")
