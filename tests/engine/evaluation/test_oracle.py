"""Exact denoisers against closed forms."""

import torch

from engine.evaluation.oracle import EmpiricalOracle


def test_empirical_oracle_is_the_posterior_mean_of_two_points() -> None:
    oracle = EmpiricalOracle(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    x = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    # Two symmetric points: E[x0 | x] = tanh(x / sigma^2).
    assert torch.allclose(oracle.denoise(x, 0.8), torch.tanh(x / 0.8**2), rtol=1e-12)
