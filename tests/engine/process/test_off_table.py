"""What a network of a chain is told for noise levels between its timesteps: three named rules, in closed form."""

import math
from typing import Any

import pytest
import torch

from engine.process.off_table import told_timestep
from engine.process.processes import DiscreteProcess

RULES = ["nearest_log", "nearest", "interpolated"]
TABLE = torch.tensor([1.0, 4.0, 16.0], dtype=torch.float64)


def told(sigma: float, rule: Any) -> float:
    return float(told_timestep(torch.tensor([sigma], dtype=torch.float64), TABLE, rule))


@pytest.mark.parametrize(
    ("sigma", "nearest_log", "nearest", "interpolated"),
    [
        (2.0, 0, 0, 0.5),  # the geometric mean of 1 and 4, at which halves go down
        (2.2, 1, 0, math.log(2.2) / math.log(4)),  # above 2, below the arithmetic mean 2.5
        (2.6, 1, 1, math.log(2.6) / math.log(4)),
        (9.0, 2, 1, 1 + math.log(9 / 4) / math.log(4)),  # above 8, below 10
        (11.0, 2, 2, 1 + math.log(11 / 4) / math.log(4)),
        (0.1, 0, 0, 0),
        (99.0, 2, 2, 2),
    ],
)
def test_between_timesteps_the_rules_part(
    sigma: float, nearest_log: float, nearest: float, interpolated: float
) -> None:
    assert [told(sigma, rule) for rule in RULES] == pytest.approx(
        [nearest_log, nearest, interpolated], abs=1e-12
    )


@pytest.mark.parametrize("rule", RULES)
def test_at_its_own_levels_a_chain_is_told_the_timestep_by_every_rule(rule: Any) -> None:
    process = DiscreteProcess(schedule="cosine", off_table=rule)
    sigmas = torch.tensor(process.sigmas, dtype=torch.float64)
    timesteps = torch.arange(1000, dtype=torch.float64)
    assert torch.allclose(process.c_noise(sigmas), timesteps, rtol=0, atol=1e-9)


def test_nearest_is_edms_round_sigma() -> None:
    # EDM's iDDPMPrecond.round_sigma: torch.cdist to its table and argmin, plainly.
    process = DiscreteProcess(schedule="cosine", off_table="nearest")
    table = torch.tensor(process.sigmas, dtype=torch.float64)
    sigma = torch.logspace(-2, 2, 301, dtype=torch.float64)
    closest = (sigma[:, None] - table[None]).abs().argmin(1)
    assert torch.equal(process.timestep(sigma), closest)
    assert torch.equal(process.c_noise(sigma), closest.double())
