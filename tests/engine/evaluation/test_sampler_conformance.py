"""Every sampler passes the conformance suite, and samplers that break a promise are caught by it."""

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import pytest
from torch import Tensor

from engine.evaluation.sampler_conformance import (
    CHECKS,
    Check,
    ConformanceError,
    check_batch_split,
    check_canonical_form,
    check_cost,
    check_determinism,
    check_fields,
    check_history,
    check_names,
    check_order,
)
from engine.samplers.base import Canonical, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.deis import Deis
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler, EulerStep, slope
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun
from engine.samplers.lms import Lms
from engine.samplers.multistep import MultistepStep, WeightedSum
from engine.samplers.registry import SAMPLERS
from engine.samplers.steps import AnyStep, NoiseFn, Scale, Step, StepCoroutine
from engine.samplers.unipc import UniPc

pytestmark = pytest.mark.slow

VARIANTS: list[SamplerBase] = [
    *(kind(num_steps=8) for kind in SAMPLERS.values()),
    EdmStochastic(num_steps=8, s_churn=3),
    Ddim(num_steps=8, eta=0.5),
    Ddim(num_steps=8, covariance="analytic", clip="x0"),
    Ddpm(num_steps=8, covariance="learned_range"),
    Ddpm(num_steps=8, covariance="ocm"),
    Ddpm(num_steps=8, covariance="npr"),
    Ddpm(num_steps=8, covariance="direct", probes=2),
    Flow(num_steps=8, method="heun"),
    Flow(num_steps=8, method="rk4"),
    Flow(num_steps=8, method="rk4", path="vp"),
    Heun(num_steps=8, guidance=2),
    Lms(num_steps=8, solver_order=2),
    Lms(num_steps=8, solver_order=3),
    Deis(num_steps=8, solver_order=1),
    Deis(num_steps=8, solver_order=2),
    DpmSolverPp(num_steps=8, solver_type="heun"),
    DpmSolverPp(num_steps=8, eta=1),
    DpmSolverPp(num_steps=8, eta=0.4, s_noise=1.01, solver_type="heun"),
    *(
        UniPc(num_steps=8, solver_order=solver_order, variant=variant)
        for solver_order, variant in product((1, 2, 3), ("bh1", "bh2"))
        if (solver_order, variant) != (2, "bh2")  # that is the default, above
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("sampler", VARIANTS, ids=lambda sampler: sampler.label)
def test_every_sampler_passes_the_conformance_suite(sampler: SamplerBase, check: Check) -> None:
    assert check(sampler) is None  # a check that fails raises


class CallsItselfSecondOrder(Euler):
    kind: Literal["euler"] = "euler"

    @property
    def order(self) -> int:
        return 2


class CallsItselfFirstOrder(Heun):
    @property
    def order(self) -> int:
        return 1


class ForgetsTheLastEvaluation(Euler):
    @property
    def evaluations(self) -> int:
        return self.num_steps - 1


class CallsItselfNoisy(Euler):
    @property
    def deterministic(self) -> bool:
        return False


class HidesItsNoise(EdmStochastic):
    s_churn: float = 5.0

    @property
    def deterministic(self) -> bool:
        return True


class ForgetsRhoInItsForm(Euler):
    def canonical(self) -> Canonical:
        form = super().canonical().form
        return Canonical({name: value for name, value in form.items() if name != "rho"})


class ToldApartByWhatDoesNothing(EdmStochastic):
    def canonical(self) -> Canonical:
        canonical = super().canonical()
        return Canonical(canonical.form | {"s_tmax": self.s_tmax})


class ForgetsTheGuidanceInItsLabel(Euler):
    @property
    def label(self) -> str:
        return "Euler"


@dataclass(frozen=True)
class BatchStep(EulerStep):
    """A step that centres the batch: what an image becomes depends on the others."""

    def run(self, x: Tensor, noise: NoiseFn) -> StepCoroutine:
        here = yield from slope(x, self.sigma)
        return x - 0.01 * x.mean() + (self.sigma_next - self.sigma) * here


class MixesImages(Euler):
    def program(self) -> tuple[Step, ...]:
        return (Scale(self.sigmas[0]), *(BatchStep(*levels) for levels in pairwise(self.sigmas)))


class EndsElsewhere(Euler):
    """Converges at its order, but to the endpoint of another ODE: twice the data."""

    def program(self) -> tuple[Step, ...]:
        return (*super().program(), Scale(2.0))


class KeepsWhatNobodyLooksAt(Euler):
    """Euler with a last step that leaves its slope."""

    def program(self) -> tuple[AnyStep, ...]:
        before = super().program()[:-1]
        levels = self.sigmas[-2:]
        return (*before, MultistepStep(1, levels[0], "slope", WeightedSum(1.0, (levels[1] - levels[0],))))


class DividesByItsField(Euler):
    """Takes any number for a field that it divides by."""

    stretch: float = 1.0

    def program(self) -> tuple[Step, ...]:
        return (*super().program(), Scale(self.stretch / self.stretch))


@pytest.mark.parametrize(
    ("sampler", "check", "complaint"),
    [
        (CallsItselfSecondOrder(num_steps=8), check_order, "declares order 2 and has"),
        (CallsItselfFirstOrder(num_steps=8), check_order, "declares order 1 and has"),
        (EndsElsewhere(num_steps=8), check_order, "from the probability-flow ODE"),
        (
            DividesByItsField(num_steps=8),
            check_fields,
            r"stretch=0\.0.* is accepted, and fails .* limit the field",
        ),
        (ForgetsTheLastEvaluation(num_steps=8), check_cost, "evaluations and asks"),
        (CallsItselfNoisy(num_steps=8), check_determinism, "does not call itself deterministic"),
        (HidesItsNoise(num_steps=8), check_determinism, "calls itself deterministic"),
        (ForgetsRhoInItsForm(num_steps=8), check_canonical_form, "acts otherwise"),
        (ToldApartByWhatDoesNothing(num_steps=8), check_canonical_form, "has another form"),
        (ForgetsTheGuidanceInItsLabel(num_steps=8), check_names, "without `suffix`"),
        (MixesImages(num_steps=8), check_batch_split, "depends on the others"),
        (KeepsWhatNobodyLooksAt(num_steps=8), check_history, "ends with a history"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SamplerBase) else "",
)
def test_a_sampler_that_breaks_a_promise_is_told_which(
    sampler: SamplerBase, check: Check, complaint: str
) -> None:
    with pytest.raises(ConformanceError, match=complaint):
        check(sampler)
