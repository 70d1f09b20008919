"""Improved precision and recall against hand-made cases and a brute-force reading of the definition."""

import pytest
import torch
from torch import Tensor

from engine.metrics.precision_recall import precision_recall, squared_distances, squared_radii


def line(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def share_by_definition(points: Tensor, centres: Tensor, k: int) -> float:
    """Share of points in the union of balls, one pair of points at a time."""
    inside = set()
    for i, centre in enumerate(centres):
        others = [float((centre - other).norm()) for j, other in enumerate(centres) if j != i]
        radius = sorted(others)[k - 1]
        inside |= {number for number, point in enumerate(points) if float((point - centre).norm()) <= radius}
    return len(inside) / len(points)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_it_equals_the_definition_at_any_block_size(k, block_size):
    # Whole numbers: distances are exact in both, and many are equal.
    generator = torch.Generator().manual_seed(k)
    real = torch.randint(0, 8, (30, 3), generator=generator).double()
    fake = torch.randint(2, 12, (23, 3), generator=generator).double()
    expected = (share_by_definition(fake, real, k), share_by_definition(real, fake, k))
    assert 0 < expected[0] < 1
    assert 0 < expected[1] < 1
    assert precision_recall(real, fake, k, block_size) == expected


def test_a_point_on_the_border_of_a_ball_is_inside():
    # At k = 1 the balls of real are [-1, 1], [0, 2] and [1, 3].
    real = line(0, 1, 2)
    assert precision_recall(real, line(3, 3.001, 50, 90), k=1)[0] == 1 / 4


def test_the_radius_does_not_count_the_point_itself():
    # Nearest others are at 1, 1 and 2; counting itself, k = 1 would give 0.
    assert squared_radii(line(0, 1, 3).double(), k=1, block_size=2).tolist() == [1, 1, 4]


def test_a_double_is_a_neighbour_at_distance_zero():
    assert squared_radii(line(5, 5, 7).double(), k=1, block_size=2).tolist() == [0, 0, 4]


def test_precision_uses_the_manifold_of_real_and_recall_that_of_fake():
    # Fake sits tightly inside a wide real set: all fake is covered, little of real is.
    real, fake = line(0, 10, 20, 30), line(10, 10.1, 10.2)
    assert precision_recall(real, fake, k=1) == (1.0, 1 / 4)
    assert precision_recall(fake, real, k=1) == (1 / 4, 1.0)


def test_identical_sets_cover_each_other():
    features = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    assert precision_recall(features, features.clone()) == (1.0, 1.0)


def test_distant_sets_do_not_cover_each_other():
    features = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    assert precision_recall(features, features + 1000) == (0.0, 0.0)


def test_a_copy_is_at_distance_zero_in_spite_of_rounding():
    vectors = torch.rand(40, 2048, generator=torch.Generator().manual_seed(0)).double()
    assert squared_distances(vectors, vectors.clone()).diagonal().tolist() == [0.0] * 40


def test_copies_of_one_real_vector_recall_that_vector_alone():
    real = torch.rand(40, 2048, generator=torch.Generator().manual_seed(0))
    assert precision_recall(real, real[7].expand(10, -1)) == (1.0, 1 / 40)


def test_distances_equal_differences():
    # Relative error of |x|^2 + |y|^2 - 2xy: about d * eps * |x|^2 / distance^2, here below 1e-12.
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(9, 64, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = (a[:, None] - b).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(a, b), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("real", "fake"), [(3, 10), (10, 3)])
def test_too_few_vectors_for_k_neighbours_are_refused(real, fake):
    with pytest.raises(ValueError, match=f"there are {real} real and {fake} fake"):
        precision_recall(torch.zeros(real, 2), torch.zeros(fake, 2), k=3)
