"""DDIM at eta 1 is found to be DDPM exactly where their canonical forms are one."""

import itertools

import pytest

from engine.samplers.as_ddpm import as_ddpm
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.heun import Heun


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
    ddpm = as_ddpm(ddim)
    assert ddpm is not None
    assert ddpm.canonical().form == ddim.canonical().form


def test_others_are_no_ddpm() -> None:
    others = [
        Heun(num_steps=5),
        Ddim(num_steps=5),
        Ddim(num_steps=5, eta=0.5),
        Ddim(num_steps=5, eta=1, clip="x0"),
    ]
    assert [as_ddpm(sampler) for sampler in others] == [None] * 4


def test_ddpm_is_itself_and_a_single_step_is_nothing_to_bound() -> None:
    assert as_ddpm(Ddpm(num_steps=5)) == Ddpm(num_steps=5)
    assert as_ddpm(Ddpm(num_steps=1)) is None
    assert as_ddpm(Ddim(num_steps=1, eta=1)) is None
