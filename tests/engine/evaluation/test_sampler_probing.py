"""What the conformance suite looks at beside the sampler it is given."""

from engine.evaluation.sampler_probing import at_steps, first_request, neighbours
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun


def test_neighbours_differ_in_every_field_and_are_all_valid() -> None:
    found = neighbours(EdmStochastic(num_steps=8))
    # Nobody writes trained_levels: a network fills them in.
    for field in set(EdmStochastic.model_fields) - {"kind", "trained_levels"}:
        assert len({getattr(one, field) for one in found}) > 1, field
    assert {one.s_churn for one in found if isinstance(one, EdmStochastic)} >= {0.0, 30.0, 100.0}


def test_numbers_of_steps_that_a_sampler_refuses_are_left_out() -> None:
    assert [one.num_steps for one in at_steps(Ddim(num_steps=2, num_timesteps=10), (5, 10, 11))] == [5, 10]


def test_the_first_request_is_where_the_ode_is_entered() -> None:
    request = first_request(Heun(num_steps=5, sigma_max=40.0), lambda x, sigma: x)
    assert request.sigma == 40.0
    # 64 standard normal latents, 40 times: their spread is 40 within five standard errors, 40 / sqrt(128).
    assert abs(float(request.x.std()) - 40) < 5 * 40 / 128**0.5
