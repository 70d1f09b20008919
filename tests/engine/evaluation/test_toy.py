"""The 2-D data sets, the distance between clouds, and the figure's clouds."""

import pytest
import torch

from engine.evaluation.toy import DATASETS, NUM_POINTS, chance_distance, energy_distance, k_budget, latents

K = (5, 20)


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_are_standardised_and_always_the_same(name: str) -> None:
    points = DATASETS[name]()
    assert points.shape == (NUM_POINTS, 2)
    assert points.mean(dim=0).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert points.var(dim=0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert torch.equal(points, DATASETS[name]())


def test_eight_gaussians_are_eight_and_two_moons_are_two() -> None:
    angle = torch.atan2(*DATASETS["eight_gaussians"]().T.flip(0)) * 4 / torch.pi
    # Noise of 0.1 on a circle of radius 1 turns a point by 0.1; half way to the next is pi / 8, 3.9 times
    # that, and the points are always the same.
    assert torch.bincount(angle.round().long() % 8).tolist() == [NUM_POINTS // 8] * 8
    moons = DATASETS["two_moons"]()
    near = torch.cdist(moons, moons) < 0.3
    reached = near[0]
    for _ in range(NUM_POINTS):
        grown = near[reached].any(dim=0)
        if torch.equal(grown, reached):
            break
        reached = grown
    assert torch.equal(reached, torch.arange(NUM_POINTS) % 2 == 0)


def test_energy_distance_is_its_closed_form() -> None:
    x, y = torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0]])
    # 2 (3 + sqrt 13) / 2 - (0 + 2 + 2 + 0) / 4 - 0.
    assert energy_distance(x, y) == pytest.approx(3 + 13**0.5 - 1, rel=1e-6)
    assert energy_distance(x, x) == 0
    assert energy_distance(x, x + 0.1) > 0


@pytest.mark.parametrize("name", DATASETS)
def test_one_in_twenty_sets_of_independent_draws_exceeds_chance(name: str) -> None:
    data, generator = DATASETS[name](), torch.Generator().manual_seed(0)
    draws = data[torch.randint(NUM_POINTS, (200, 100), generator=generator)]
    limit = chance_distance(data, 100)
    exceed = sum(energy_distance(cloud, data) > limit for cloud in draws)
    # 10 of 200 are expected, with a standard deviation of 3.1; that of the limit itself, from 1000 sets, adds
    # sqrt(0.05 * 0.95 / 1000) * 200 = 1.4. Four of both together are 14.
    assert 1 <= exceed <= 24


def test_latents_are_normal_and_more_even_than_chance() -> None:
    points = latents(0, 1000)
    # Independent draws have means and variances off by 0.03 and 0.045.
    assert points.mean(dim=0).abs().max() < 0.01
    assert (points.var(dim=0) - 1).abs().max() < 0.02
    assert not torch.equal(points, latents(1, 1000))


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_left_with_many_steps_is_far_below_chance_whatever_the_seed(name: str, seed: int) -> None:
    distance = {cloud.sampler: cloud.distance for cloud in k_budget(name, seed, num_samples=512, steps=(20,))}
    assert distance["FM-RK4"] < chance_distance(DATASETS[name](), 512) / 10


@pytest.mark.parametrize("name", DATASETS)
def test_every_sampler_comes_closer_to_the_data_with_more_steps_and_rk4_needs_fewest(name: str) -> None:
    clouds = {(cloud.sampler, cloud.k): cloud for cloud in k_budget(name, 0, num_samples=300, steps=K)}
    assert set(clouds) == {(sampler, k) for sampler in ("DDPM", "DDIM", "FM-Euler", "FM-RK4") for k in K}
    for sampler in ("DDPM", "DDIM", "FM-Euler"):
        assert clouds[sampler, 20].distance < clouds[sampler, 5].distance / 2
        assert clouds[sampler, 5].distance > 2 * clouds["FM-RK4", 5].distance
    # The order that the companion text gives for one budget: flows before DDIM before DDPM.
    assert clouds["FM-Euler", 5].distance < clouds["DDIM", 5].distance < clouds["DDPM", 5].distance
    assert {key: cloud.nfe for key, cloud in clouds.items() if key[1] == 5} == {
        ("DDPM", 5): 5, ("DDIM", 5): 5, ("FM-Euler", 5): 5, ("FM-RK4", 5): 19,
    }  # fmt: skip


def test_clouds_are_a_function_of_the_seed() -> None:
    def points(seed: int) -> torch.Tensor:
        clouds = k_budget("two_moons", seed, num_samples=8, steps=(5,))
        return torch.stack([torch.from_numpy(cloud.points) for cloud in clouds])

    assert points(0).shape == (4, 8, 2)
    assert torch.equal(points(0), points(0))
    assert not torch.equal(points(0), points(1))
