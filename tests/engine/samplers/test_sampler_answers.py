"""What samplers say of themselves: whether they add noise,
their family, and under which name else they run."""

import itertools

import pytest

from engine.samplers.base import NetworkFacts, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.deis import Deis
from engine.samplers.dpm2 import Dpm2
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun
from engine.samplers.lms import Lms
from engine.samplers.unipc import UniPc


@pytest.mark.parametrize(
    ("sampler", "deterministic", "order", "family"),
    [
        (Euler(num_steps=9), True, 1, "Euler"),
        (Heun(num_steps=9), True, 2, "Heun"),
        (EdmStochastic(num_steps=9), True, 2, "Heun"),
        (EdmStochastic(num_steps=9, s_churn=4), False, None, "EDM stochastic"),
        # No noise level of the grid lies in the interval.
        (EdmStochastic(num_steps=9, s_churn=4, s_tmin=0.5, s_tmax=0.4), True, 2, "Heun"),
        (Ddim(num_steps=9), True, 1, "DDIM"),
        (Ddim(num_steps=9, clip="x0"), True, None, "DDIM"),
        (Ddim(num_steps=9, eta=0.5), False, None, "DDIM stochastic"),
        (Ddim(num_steps=9, eta=1, noisy=True), False, None, "DDIM stochastic"),
        (Ddim(num_steps=9, covariance="ocm"), False, None, "DDIM ocm"),
        # The only step lands on x0_hat, where no noise is added whatever eta or the variance.
        (Ddim(num_steps=1, eta=1), True, None, "DDIM"),
        (Ddpm(num_steps=1), True, None, "DDPM"),
        (Ddpm(num_steps=9), False, None, "DDPM"),
        (Ddpm(num_steps=9, covariance="learned_range"), False, None, "DDPM learned range"),
        (Flow(num_steps=9, method="rk4"), True, 4, "flow RK4"),
        (Dpm2(num_steps=9), True, 2, "DPM-2"),
        (Lms(num_steps=9), True, 4, "LMS-4"),
        (Deis(num_steps=9, solver_order=2), True, 2, "DEIS-2"),
        (DpmSolverPp(num_steps=9), True, 2, "DPM-Solver++ 2M"),
        (DpmSolverPp(num_steps=9, eta=1), False, None, "DPM-Solver++ 2M SDE"),
        # The only step lands on x0_hat.
        (DpmSolverPp(num_steps=1, eta=1), True, None, "DPM-Solver++ 2M"),
        # A corrector looks at one evaluation more than its predictor.
        (UniPc(num_steps=9), True, 3, "UniPC-2 bh2"),
    ],
    ids=lambda value: value.label if isinstance(value, SamplerBase) else "",
)
def test_a_sampler_says_whether_it_adds_noise_its_order_and_its_family(
    sampler: SamplerBase, deterministic: bool, order: int | None, family: str
) -> None:
    assert (sampler.deterministic, sampler.order, sampler.family) == (deterministic, order, family)


@pytest.mark.parametrize(
    ("clip", "covariance", "noisy"),
    [(clip, "none", True) for clip in ("none", "x0_and_eps")]
    + list(itertools.product(("none", "x0_and_eps"), ("none", "analytic", "ocm"), (False,))),
)
def test_ddim_at_eta_1_is_a_ddpm_of_the_same_form(clip: str, covariance: str, noisy: bool) -> None:
    ddim = Ddim.model_validate(
        {"num_steps": 7, "eta": 1.0, "clip": clip, "covariance": covariance, "noisy": noisy, "schedule": "cosine",
         "tau": "even", "guidance": 2.0, "num_timesteps": 500}
    )  # fmt: skip
    ddpm = ddim.as_ddpm()
    assert ddpm is not None
    assert ddpm.canonical().form == ddim.canonical().form


@pytest.mark.parametrize(
    "sampler",
    [
        Lms(num_steps=5, solver_order=1),
        Deis(num_steps=5, solver_order=1),
        Lms(num_steps=1),
        Dpm2(num_steps=1),
        UniPc(num_steps=1),
        DpmSolverPp(num_steps=1, eta=1),
        # Two steps are one of first order and the last one, to 0.
        Deis(num_steps=2),
        DpmSolverPp(num_steps=2, solver_type="heun"),
        UniPc(num_steps=2, solver_order=3),
    ],
    ids=lambda sampler: f"{sampler.label} of order {sampler.order}",
)
def test_of_first_order_or_in_so_few_steps_a_few_step_solver_is_euler(sampler: SamplerBase) -> None:
    euler = Euler(num_steps=sampler.num_steps)
    assert sampler.canonical().form == euler.canonical().form
    assert sampler.program() == euler.program()
    assert sampler.canonical().reasons


def test_a_high_order_needs_steps_and_what_it_cannot_reach_is_the_lower_one() -> None:
    for high, low in (
        (Lms(num_steps=3, solver_order=4), Lms(num_steps=3, solver_order=3)),
        (Deis(num_steps=4, solver_order=3), Deis(num_steps=4, solver_order=2)),
        (UniPc(num_steps=4, solver_order=3), UniPc(num_steps=4, solver_order=2)),
    ):
        assert high.canonical().form == low.canonical().form
        assert high.program() == low.program()
    assert UniPc(num_steps=5, solver_order=3).program() != UniPc(num_steps=5, solver_order=2).program()


def test_others_are_no_ddpm() -> None:
    others = [
        Heun(num_steps=5),
        Ddim(num_steps=5),
        Ddim(num_steps=5, eta=0.5),
        Ddim(num_steps=5, eta=1, clip="x0"),
    ]
    assert [sampler.as_ddpm() for sampler in others] == [None] * 4


def test_ddpm_is_itself_and_a_single_step_is_nothing_to_bound() -> None:
    assert Ddpm(num_steps=5).as_ddpm() == Ddpm(num_steps=5)
    assert Ddpm(num_steps=1).as_ddpm() is None
    assert Ddim(num_steps=1, eta=1).as_ddpm() is None


def test_only_an_analytic_variance_is_measured_for_one_sampler() -> None:
    analytic, ocm = (Ddpm(num_steps=5, covariance=name) for name in ("analytic", "ocm"))
    assert (analytic.variance_needed, ocm.variance_needed) == ("analytic", "ocm")
    assert Ddpm(num_steps=5).variance_needed is None
    assert [one.measures_own_variance for one in (analytic, ocm, Heun(num_steps=5))] == [True, False, False]
    assert len(analytic.variance_sigmas) == 5
    assert list(analytic.variance_sigmas) == sorted(analytic.variance_sigmas)


KNOWS_ALL = NetworkFacts(
    objective="ocm",
    prediction_objective="hybrid",
    has_null_label=True,
    knows_pure_noise=True,
    learned_variance=True,
    covariance_head="ocm",
)
KNOWS_NOTHING = NetworkFacts(
    objective="simple",
    prediction_objective="simple",
    has_null_label=False,
    knows_pure_noise=False,
    learned_variance=False,
    covariance_head="",
)


@pytest.mark.parametrize(
    ("sampler", "field"),
    [
        (Flow(num_steps=5), "sample.sigma_max"),
        (Ddim(num_steps=5, zero_terminal_snr=True), "sample.zero_terminal_snr"),
        (Ddim(num_steps=5, covariance="ocm"), "sample.covariance"),
        (Ddpm(num_steps=5, covariance="learned_range"), "sample.covariance"),
    ],
    ids=lambda value: value.label if isinstance(value, SamplerBase) else "",
)
def test_a_sampler_names_the_field_that_asks_too_much_of_a_network(sampler: SamplerBase, field: str) -> None:
    [(fields, _)] = sampler.conflicts(KNOWS_NOTHING, None)
    assert fields[0] == field
    assert list(sampler.conflicts(KNOWS_ALL, None)) == []


def test_a_chain_cannot_be_compared_at_more_steps_than_it_has_timesteps() -> None:
    short = Ddim(num_steps=5, num_timesteps=50)
    assert [fields for fields, _ in short.conflicts(KNOWS_ALL, 51)] == [
        ("eval.consistency.num_steps", "sample.num_timesteps")
    ]
    assert list(short.conflicts(KNOWS_ALL, 50)) == []
    assert list(Ddpm(num_steps=5, num_timesteps=50).conflicts(KNOWS_ALL, 51)) == []  # never compared
    assert list(Heun(num_steps=5).conflicts(KNOWS_ALL, 51)) == []


def test_guidance_needs_a_network_that_also_predicts_without_label() -> None:
    guided = Heun(num_steps=5, guidance=2)
    [(fields, _)] = guided.guidance_conflicts(KNOWS_NOTHING, "eval.selection.sampler")
    assert fields[0] == "eval.selection.sampler.guidance"
    assert list(guided.guidance_conflicts(KNOWS_ALL, "sample")) == []
    assert list(Heun(num_steps=5).guidance_conflicts(KNOWS_NOTHING, "sample")) == []
