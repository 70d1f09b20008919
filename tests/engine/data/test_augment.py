"""EDM's augmentation: its filter, its geometry, its labels, and that flips alone cost no pixel anything."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.data.augment import NUM_DRAWS, SYM6, _filters, augment, draw_changes
from engine.data.catalog import NUM_AUGMENT_LABELS
from engine.noise import Purpose, uniforms

DATA = Path(__file__).resolve().parents[2] / "data"
"""Numbers that released programs gave; `README.md` there says which."""

NAMES = (
    "x_flip", "y_flip", "scales", "scale", "turns", "angle", "stretches", "stretch", "tilts", "axis",
    "shifts", "shift_x", "shift_y",
)  # fmt: skip
GATES = {"scale": "scales", "angle": "turns", "stretch": "stretches", "axis": "tilts", "shift_x": "shifts"}
GATES["shift_y"] = "shifts"


def draws_for(**values):
    """Draws of one image [1, 13] that make the named values,
    angles in radians, and nothing else, for 0 < p < 1."""
    draws = torch.full((1, NUM_DRAWS), 1 - 1e-9, dtype=torch.float64)
    for name, value in values.items():
        if name in GATES:
            draws[0, NAMES.index(GATES[name])] = 1e-9
            value = torch.tensor(value, dtype=torch.float64)
            unit = (value / math.pi + 1) / 2 if name in ("angle", "axis") else torch.special.ndtr(value)
            draws[0, NAMES.index(name)] = unit
        else:
            draws[0, NAMES.index(name)] = 1e-9
    if "shift_x" in values or "shift_y" in values:
        for name in {"shift_x", "shift_y"} - set(values):
            draws[0, NAMES.index(name)] = 0.5
    return draws


def random_images(count, channels=1, height=8, width=8):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def keyed_draws(count):
    return uniforms(0, Purpose.AUGMENT, torch.arange(count), NUM_DRAWS)


def blob(x=0.0, y=0.0, side=96):
    """A Gaussian of standard deviation 2 pixels, (x, y) from the centre, on zeros: [1, 1, side, side]."""
    away = torch.arange(side) - (side - 1) / 2
    return torch.exp(-((away[None, :] - x) ** 2 + (away[:, None] - y) ** 2) / 8)[None, None]


MASS = 8 * math.pi
"""The sum of a blob."""


def moments(image):
    """Sum, mean (x, y) from the centre and covariance [2, 2] of the middle of an
    image taken as a density; y points down. Only the middle half of the sides
    counts: when an image shrinks to half, its mirrored copies begin there."""
    side = image.shape[-1]
    density = image[0, 0, side // 4 : -side // 4, side // 4 : -side // 4].double()
    away = torch.arange(len(density), dtype=torch.float64) - (len(density) - 1) / 2
    y, x = torch.meshgrid(away, away, indexing="ij")
    points = torch.stack([x, y]).flatten(1)
    weight = density.flatten() / density.sum()
    mean = points @ weight
    centred = points - mean[:, None]
    return density.sum().item(), mean.tolist(), ((centred * weight) @ centred.T).tolist()


CENTRE_OF_MASS = sum(k * tap for k, tap in enumerate(SYM6)) / math.sqrt(2)
"""Of the filter's taps, the middle of which is at 5.5."""

ON_THE_WAY_UP = CENTRE_OF_MASS - 5.5
"""How far the filter moves an image right and down on the fine grid; on the way down it moves it back."""

EDM_FIXED_POINT = -0.5
"""EDM's `translate2d(-0.5, -0.5)` around the sampling matrix: the fine pixel that a turn leaves in place."""


def landing(linear, x, y, shift=(0.0, 0.0)):
    """Where the mass at (x, y) lands when EDM turns and stretches by `linear` [2, 2] and then moves by
    `shift`, all in pixels: up through the filter, about the fixed point, moved, down through the filter."""
    before = [2 * x + ON_THE_WAY_UP - EDM_FIXED_POINT, 2 * y + ON_THE_WAY_UP - EDM_FIXED_POINT]
    fine = [sum(entry * value for entry, value in zip(row, before, strict=True)) for row in linear]
    return [
        (value + EDM_FIXED_POINT - ON_THE_WAY_UP) / 2 + move for value, move in zip(fine, shift, strict=True)
    ]


# Interpolation between neighbours at distance f and 1 - f widens by f (1 - f), at most 1/4 squared fine
# pixel; the filter has no variance of its own, as |H|^2 is flat at frequency zero. In squared pixels:
WIDENING = 1 / 16

# A blob cut off at four deviations loses 3.2e-5 of its mass, at most 24 pixels from the centre: 8e-4 of its
# mean. What it loses of its variance is less than it gains by interpolation.
SAMPLED = 1e-3


def test_the_filter_is_orthonormal_to_its_even_shifts():
    taps = torch.tensor(SYM6, dtype=torch.float64)
    products = [(taps[2 * k :] @ taps[: 12 - 2 * k]).item() for k in range(6)]
    # The published digits are rounded somewhere after the eleventh.
    assert products == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-11)


def test_the_filter_has_six_vanishing_moments_and_sum_root_two():
    k, taps = torch.arange(12, dtype=torch.float64), torch.tensor(SYM6, dtype=torch.float64)
    assert taps.sum().item() == pytest.approx(math.sqrt(2), abs=1e-11)
    # Errors of 1e-12 a tap (see above), times the largest power of k, over 12 taps;
    # the seventh moment is 342.
    for order in range(6):
        assert abs(((-1) ** k * k**order * taps).sum()) < 12 * 11**order * 1e-12
    assert abs(((-1) ** k * k**6 * taps).sum()) > 100


def test_the_filter_is_the_most_symmetric_spectral_factor():
    roots = np.roots([math.comb(5 + k, k) for k in range(5, -1, -1)])
    inside = [min(np.roots([1, 4 * y - 2, 1]), key=abs) for y in roots if y.imag >= 0]
    factors = []
    for signs in itertools.product([1, -1], repeat=len(inside)):
        zeros = [z**sign for z, sign in zip(inside, signs, strict=True)]
        zeros += [z.conjugate() for z in zeros if abs(z.imag) > 1e-6]
        taps = np.poly([-1] * 6 + zeros).real
        factors.append(taps * math.sqrt(2) / taps.sum())
    best = min(np.linalg.norm(taps - taps[::-1]) for taps in factors)
    winners = [taps for taps in factors if np.linalg.norm(taps - taps[::-1]) < best + 1e-9]
    # Root finding costs a few of the sixteen digits.
    assert min(np.abs(taps - SYM6).max() for taps in winners) < 1e-10


def test_up_and_down_through_the_filter_is_the_identity():
    matrix = _filters(9, torch.device("cpu"))
    # Sums of at most 12 products below 1, in fp32.
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(9), rtol=0, atol=12 * 2.0**-23)


def test_probability_zero_flips_half_of_the_images_and_keeps_every_bit():
    images = random_images(400, channels=3)
    before = images.clone()
    augmented, labels = augment(images, keyed_draws(400), 0.0)
    flipped = labels[:, 0] == 1
    assert torch.equal(images, before)
    assert torch.equal(augmented[flipped], images[flipped].flip(3))
    assert torch.equal(augmented[~flipped], images[~flipped])
    assert labels[:, 1:].count_nonzero() == 0
    # Five standard deviations of a binomial of 400 fair coins.
    assert abs(flipped.sum() - 200) < 5 * 10


def test_images_that_are_only_flipped_keep_every_bit_among_others_that_are_resampled():
    cases = [{}, {"x_flip": 1}, {"y_flip": 1}, {"x_flip": 1, "y_flip": 1}, {"scale": 1.0}]
    images = random_images(5)
    augmented, labels = augment(images, torch.cat([draws_for(**case) for case in cases]), 0.5)
    for number, axes in enumerate([[], [3], [2], [2, 3]]):
        assert torch.equal(augmented[number], images[number : number + 1].flip(axes)[0])
    assert labels[:, :2].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]]
    assert not torch.equal(augmented[4], images[4])


@pytest.mark.parametrize("probability", [0.12, 0.5])
def test_each_change_is_active_on_its_own_with_the_given_probability(probability):
    count = 20_000
    labels = augment(torch.zeros(count, 1, 2, 2), keyed_draws(count), probability)[1]
    active = torch.stack([labels[:, k] != 0 for k in (1, 2, 4, 6, 7)]).double()
    expected = torch.full((5,), probability, dtype=torch.float64)
    expected[0] = probability / 2
    # The sine of a stretch's axis is zero for the half of the axes that stay horizontal.
    expected[3] = probability / 2
    both = (active @ active.T) / count
    # Five standard errors of a share, at most 1 / sqrt(4 count).
    error = 5 / math.sqrt(4 * count)
    assert (both.diagonal() - expected).abs().max() < error
    together = expected[:, None] * expected
    assert (both - together).fill_diagonal_(0).abs().max() < error


def test_active_values_are_standard_normal_and_angles_fill_the_circle():
    count = 20_000
    changes = draw_changes(keyed_draws(count), 1 - 1e-9)
    for values in (changes.scale, changes.stretch, changes.shift_x, changes.shift_y):
        assert abs(values.mean()) < 5 / math.sqrt(count)
        assert abs(values.square().mean() - 1) < 5 * math.sqrt(2 / count)
    # Means of cos and sin over the circle are 0 with variance 1/2, and so are those of the double angle.
    for angle in (changes.angle, 2 * changes.angle, changes.axis[changes.axis != 0]):
        assert abs(angle.cos().mean()) < 5 * math.sqrt(0.5 / len(angle))
        assert abs(angle.sin().mean()) < 5 * math.sqrt(0.5 / len(angle))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({}, [0] * 9),
        ({"x_flip": 1, "y_flip": 1}, [1, 1, 0, 0, 0, 0, 0, 0, 0]),
        ({"scale": -1.5}, [0, 0, -1.5, 0, 0, 0, 0, 0, 0]),
        ({"angle": 0.7}, [0, 0, 0, math.cos(0.7) - 1, math.sin(0.7), 0, 0, 0, 0]),
        ({"stretch": 1.2}, [0, 0, 0, 0, 0, 1.2, 0, 0, 0]),
        ({"stretch": 1.2, "axis": 2.0}, [0, 0, 0, 0, 0, 1.2 * math.cos(2), 1.2 * math.sin(2), 0, 0]),
        ({"axis": 2.0}, [0] * 9),
        ({"shift_x": 0.5, "shift_y": -2.0}, [0, 0, 0, 0, 0, 0, 0, 0.5, -2.0]),
    ],
)
def test_labels_are_edms_nine_and_zero_where_nothing_is_active(values, labels):
    given = augment(random_images(1), draws_for(**values), 0.5)[1]
    assert given.dtype == torch.float32
    assert given.shape == (1, NUM_AUGMENT_LABELS)
    # fp32 rounding of numbers up to 2, after float64 round trips through the normal distribution.
    assert given[0].tolist() == pytest.approx(labels, abs=2.0**-22)


def test_a_translation_by_whole_pixels_moves_the_mirrored_image_right_and_down():
    images = random_images(1, channels=3, height=8, width=16)
    moved, _ = augment(images, draws_for(shift_x=1.0, shift_y=2.0), 0.5)
    expected = F.pad(images, (2, 0, 2, 0), mode="reflect")[:, :, :8, :16]
    # Positions among about 100 fine pixels carry errors of
    # a few 100 * 2^-24, times slopes of at most about 2.
    torch.testing.assert_close(moved, expected, rtol=0, atol=100 * 2.0**-20)


@pytest.mark.parametrize("probability", ["0.12", "1"])
def test_images_and_labels_are_those_of_edms_own_pipe(probability):
    vectors = np.load(DATA / "edm_augment.npz")
    images = torch.from_numpy(vectors["images"]).float() / 127.5 - 1
    augmented, labels = augment(images, torch.from_numpy(vectors["draws"]), float(probability))
    # Both resample in fp32: sums of 12 products twice up and twice down, at positions among 200 fine
    # pixels that carry errors of 200 * 2^-24 pixels times slopes of at most 1 a fine pixel: 1.2e-5.
    expected = torch.from_numpy(vectors[f"expected_p{probability}"])
    torch.testing.assert_close(augmented, expected, rtol=0, atol=200 * 2.0**-24)
    torch.testing.assert_close(
        labels, torch.from_numpy(vectors[f"labels_p{probability}"]), rtol=0, atol=2.0**-21
    )


@pytest.mark.parametrize("side", [28, 32, 64])
def test_half_a_turn_moves_a_centred_blob_as_far_as_edms_does(side):
    turned = augment(blob(side=side), draws_for(angle=math.pi - 1e-12), 0.5)[0]
    # Measured on EDM's pipe at these sizes: 0.098 pixels up and left.
    # The blob's tails are cut off at 7 pixels.
    assert moments(turned)[1] == pytest.approx([-0.098, -0.098], abs=2e-3)


def test_a_quarter_turn_is_anticlockwise():
    mass, mean, _ = moments(augment(blob(x=9.0), draws_for(angle=math.pi / 2), 0.5)[0])
    # (x, y) goes to (y, -x), as y points down.
    assert mean == pytest.approx(landing([[0, 1], [-1, 0]], 9, 0), abs=SAMPLED)
    assert mass == pytest.approx(MASS, rel=SAMPLED)


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_a_scale_multiplies_distances_and_areas(scale):
    scaled = augment(blob(x=4.0, y=-3.0), draws_for(scale=math.log2(scale) / 0.2), 0.5)[0]
    mass, mean, covariance = moments(scaled)
    assert mass == pytest.approx(MASS * scale**2, rel=SAMPLED)
    assert mean == pytest.approx(landing([[scale, 0], [0, scale]], 4, -3), abs=SAMPLED)
    for axis in (0, 1):
        assert -SAMPLED < covariance[axis][axis] - 4 * scale**2 < WIDENING * scale**2 + SAMPLED
    assert abs(covariance[0][1]) < SAMPLED


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(None, [[16, 0], [0, 1]]), (math.pi / 2, [[1, 0], [0, 16]]), (math.pi / 4, [[8.5, -7.5], [-7.5, 8.5]])],
)
def test_a_stretch_widens_along_its_axis_and_narrows_across(axis, expected):
    values = {"stretch": 5.0} if axis is None else {"stretch": 5.0, "axis": axis}
    mass, _, covariance = moments(augment(blob(), draws_for(**values), 0.5)[0])
    assert mass == pytest.approx(MASS, rel=SAMPLED)
    # The axis is stretched by 2, and so is the widening by interpolation.
    for row, expected_row in zip(covariance, expected, strict=True):
        assert row == pytest.approx(expected_row, abs=4 * WIDENING + SAMPLED)


def test_the_image_is_flipped_turned_stretched_and_moved_in_this_order():
    draws = draws_for(x_flip=1, angle=math.pi / 2, stretch=5.0, shift_x=0.5)
    mean = moments(augment(blob(x=-8.0), draws, 0.5)[0])[1]
    # Flipped to (8, 0), turned to (0, -8), stretched to (0,
    # -4), moved by a sixteenth of 96 pixels to (6, -4).
    expected = landing([[0, 2], [-0.5, 0]], 8, 0, shift=(6, 0))
    assert mean == pytest.approx(expected, abs=SAMPLED)


def test_mirrored_images_reach_one_side_beyond_every_edge_and_zero_lies_further_out():
    ones = torch.ones(1, 1, 64, 64)
    shrunk = augment(ones, draws_for(scale=-6.0, stretch=-6.0), 0.5)[0][0, 0]
    # Shrunk to 2^-2.4 in x and kept in y. The mirrored image ends 64 + 63 / 2 pixels from the centre.
    edge = (64 + 63 / 2) * 2**-2.4
    distance = (torch.arange(64) - 63 / 2).abs()
    # The filter rings for its 12 fine pixels, 6 pixels of the result.
    inside, outside = distance < edge - 6, distance > edge + 6
    torch.testing.assert_close(shrunk[:, inside], torch.ones(64, int(inside.sum())), rtol=0, atol=1e-4)
    torch.testing.assert_close(shrunk[:, outside], torch.zeros(64, int(outside.sum())), rtol=0, atol=1e-4)
    assert inside.sum() > 20
    assert outside.sum() > 10


def test_images_and_labels_do_not_depend_on_the_batch():
    images, draws = random_images(12, channels=3), keyed_draws(12)
    together, labels = augment(images, draws, 0.5)
    alone = [augment(images[i : i + 1], draws[i : i + 1], 0.5) for i in range(12)]
    assert torch.equal(labels, torch.cat([label for _, label in alone]))
    # Sums of up to 12 fp32 products on the way up and down, twice each, of values up to 2, in another order.
    torch.testing.assert_close(together, torch.cat([image for image, _ in alone]), rtol=0, atol=96 * 2.0**-23)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    augment(random_images(4), keyed_draws(4), 0.5)
    assert torch.equal(torch.get_rng_state(), state)
