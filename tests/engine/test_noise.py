"""Keyed noise: known answers, independence from how work is split, and the right distribution."""

import math

import torch

from engine.noise import Purpose, normal, philox, uniform, uniforms

# Known-answer tests published with the generator (Random123, philox4x32 with 10 rounds).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF, 0xFFFFFFFF), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def test_philox_gives_the_published_known_answers() -> None:
    for counter, key, words in KNOWN_ANSWERS:
        assert tuple(philox(torch.tensor(counter), key).tolist()) == words


def test_noise_of_an_item_does_not_depend_on_its_batch() -> None:
    items = torch.arange(10)
    together = normal(1, Purpose.LATENT, items, (3, 5, 5))
    alone = torch.cat([normal(1, Purpose.LATENT, items[i : i + 1], (3, 5, 5)) for i in range(10)])
    assert torch.equal(together, alone)


def test_seed_purpose_item_and_step_all_change_the_noise() -> None:
    item = torch.tensor([7])
    draws = [
        normal(seed, purpose, item + shift, (4,), step)
        for seed, purpose, shift, step in [
            (0, Purpose.LATENT, 0, 0),
            (1, Purpose.LATENT, 0, 0),
            (0, Purpose.SAMPLER_STEP, 0, 0),
            (0, Purpose.LATENT, 1, 0),
            (0, Purpose.LATENT, 0, 1),
        ]
    ]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)


def test_high_bits_of_a_seed_matter() -> None:
    item = torch.tensor([0])
    assert not torch.equal(uniform(1, Purpose.LATENT, item), uniform(1 + 2**32, Purpose.LATENT, item))


def test_normal_noise_has_the_moments_of_a_standard_normal() -> None:
    draws = normal(3, Purpose.LATENT, torch.arange(1000), (1000,)).flatten()
    count = draws.numel()
    # Five standard errors of the mean (1), the variance (sqrt 2) and the fourth moment (sqrt 96).
    assert abs(draws.mean()) < 5 / math.sqrt(count)
    assert abs(draws.square().mean() - 1) < 5 * math.sqrt(2 / count)
    assert abs(draws.pow(4).mean() - 3) < 5 * math.sqrt(96 / count)


def test_neighbouring_pixels_steps_and_items_are_uncorrelated() -> None:
    draws = torch.stack(
        [normal(5, Purpose.SAMPLER_STEP, torch.arange(300), (64,), step) for step in range(8)]
    )
    for axis in range(3):
        product = (
            draws.narrow(axis, 0, draws.shape[axis] - 1) * draws.narrow(axis, 1, draws.shape[axis] - 1)
        ).flatten()
        assert abs(product.mean()) < 5 / math.sqrt(product.numel())


def test_uniform_draws_of_an_item_depend_on_neither_batch_nor_count() -> None:
    items = torch.arange(10)
    together = uniforms(1, Purpose.AUGMENT, items, 13, step=2)
    alone = torch.cat([uniforms(1, Purpose.AUGMENT, items[i : i + 1], 13, step=2) for i in range(10)])
    assert torch.equal(together, alone)
    assert together.shape == (10, 13)
    assert together.unique().numel() == 130
    assert torch.equal(uniforms(1, Purpose.AUGMENT, items, 5, step=2), together[:, :5])
    assert torch.equal(uniform(1, Purpose.AUGMENT, items, step=2), together[:, 0])


def test_uniform_draws_stay_inside_the_open_interval_and_fill_it() -> None:
    draws = uniform(0, Purpose.NOISE_LEVEL, torch.arange(100_000))
    assert 0 < draws.min() < 1e-3
    assert 1 - 1e-3 < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 5 * math.sqrt(1 / 12 / len(draws))
