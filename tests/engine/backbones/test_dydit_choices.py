"""DyDiT's choices are zeros and ones with the gradient of soft ones, by scores of full precision."""

import pytest
import torch
from torch import nn

from engine.backbones.dydit.network import ALWAYS, TEMPERATURE, choice, scores


def test_a_choice_is_zero_or_one_and_has_the_gradient_of_a_soft_one_at_the_same_noise() -> None:
    score, weight = torch.linspace(-20, 40, 301).requires_grad_(), torch.linspace(1, 2, 301)
    torch.manual_seed(0)
    chosen = choice(score, noisy=True)
    assert set(chosen.tolist()) == {0.0, 1.0}
    (chosen * weight).sum().backward()
    torch.manual_seed(0)
    soft_score = score.detach().clone().requires_grad_()
    noise = torch.rand(301).clamp(1e-7, 1 - 1e-7).logit()
    (torch.sigmoid((soft_score + noise) / TEMPERATURE) * weight).sum().backward()
    assert score.grad is not None
    assert torch.equal(score.grad, soft_score.grad)
    assert score.grad.count_nonzero() == 301


def test_without_noise_the_gradient_is_that_of_the_soft_choice_too() -> None:
    score = torch.linspace(-20, 40, 301).requires_grad_()
    choice(score, noisy=False).sum().backward()
    soft = (score.detach() / TEMPERATURE).sigmoid()
    assert score.grad is not None
    torch.testing.assert_close(score.grad, soft * (1 - soft) / TEMPERATURE)


def test_what_is_always_chosen_has_no_gradient_and_spoils_none() -> None:
    score = torch.zeros(3, requires_grad=True)
    chosen = choice(torch.cat([torch.full((2,), ALWAYS), score]), noisy=True)
    assert chosen[:2].tolist() == [1, 1]
    chosen.sum().backward()
    assert score.grad is not None
    assert score.grad.isfinite().all()


@pytest.mark.parametrize("score", [-3.0, -0.5, 0.0, 1.0, 4.0])
def test_a_part_is_chosen_as_often_as_the_sigmoid_of_its_score_says(score: float) -> None:
    torch.manual_seed(0)
    draws, wanted = 40_000, torch.tensor(score).sigmoid().item()
    frequency = choice(torch.full((draws,), score), noisy=True).mean().item()
    assert (
        abs(frequency - wanted) < 4 * (wanted * (1 - wanted) / draws) ** 0.5
    )  # standard deviations of the binomial


def test_its_noise_is_distributed_as_the_difference_of_two_gumbel_draws_of_the_released_code() -> None:
    torch.manual_seed(0)
    draws = 200_000
    gumbel = torch.distributions.Gumbel(0.0, 1.0)
    theirs = gumbel.sample((draws,)) - gumbel.sample((draws,))
    for score in (-2.0, 0.5, 3.0):
        frequency = choice(torch.full((draws,), score), noisy=True).mean().item()
        wanted = (theirs + score > 0).float().mean().item()
        assert abs(frequency - wanted) < 4 * (2 * 0.25 / draws) ** 0.5  # of two binomials, at most


def test_in_evaluation_a_part_is_chosen_when_its_score_is_above_zero() -> None:
    assert choice(torch.tensor([-1.0, 0.0, 1e-6, 2.0]), noisy=False).tolist() == [0, 0, 1, 1]


@torch.no_grad()
def test_scores_keep_full_precision_under_autocast() -> None:
    router = nn.Linear(4, 1)
    nn.init.zeros_(router.weight)
    nn.init.constant_(router.bias, 35.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scores(router, torch.ones(1, 4, dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], router.bias)
