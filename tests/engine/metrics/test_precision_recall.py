"""Improved precision and recall against hand-made cases and a brute-force reading of the definition."""

import pytest
import torch
from torch import Tensor

from engine.metrics import precision_recall as module
from engine.metrics.precision_recall import Manifold, Overlap, overlap, squared_distances, squared_radii


def line(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def balls_by_definition(points: Tensor, centres: Tensor, k: int) -> Tensor:
    """Whether each point [P] lies in each centre's ball [C], one pair of points at a time."""
    inside = torch.zeros(len(points), len(centres), dtype=torch.bool)
    for i, centre in enumerate(centres):
        others = [float((centre - other).norm()) for j, other in enumerate(centres) if j != i]
        radius = sorted(others)[k - 1]
        for number, point in enumerate(points):
            inside[number, i] = float((point - centre).norm()) <= radius
    return inside


def compare(real: Tensor, fake: Tensor, k: int = 3, tile: int = 2048) -> Overlap:
    return overlap(Manifold.of(real, k, tile), Manifold.of(fake, k, tile), tile)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("tile", [1, 7, 100])
def test_it_equals_the_definition_at_any_tile_size(k, tile):
    # Whole numbers: distances are exact in both, and many are equal.
    generator = torch.Generator().manual_seed(k)
    real = torch.randint(0, 8, (30, 3), generator=generator).double()
    fake = torch.randint(2, 12, (23, 3), generator=generator).double()
    in_real, in_fake = balls_by_definition(fake, real, k), balls_by_definition(real, fake, k)
    found = compare(real, fake, k, tile)
    assert found.precision == float(in_real.any(dim=1).double().mean())
    assert found.recall == float(in_fake.any(dim=1).double().mean())
    assert found.density == pytest.approx(int(in_real.sum()) / (k * len(fake)), rel=1e-15)
    assert found.coverage == float(in_real.any(dim=0).double().mean())
    assert all(0 < value < 1 for value in (found.precision, found.recall, found.coverage))


def test_a_point_on_the_border_of_a_ball_is_inside():
    # At k = 1 the balls of real are [-1, 1], [0, 2] and [1, 3].
    found = compare(line(0, 1, 2), line(3, 3.001, 50, 90), k=1)
    assert (found.precision, found.density, found.coverage) == (1 / 4, 1 / 4, 1 / 3)


def test_density_counts_all_balls_a_point_lies_in_and_coverage_all_balls_found():
    # At k = 2 the balls of real are [-2, 2], [0, 2], [0, 4] and [1, 199]:
    # 3 lies in the last two, the others in all.
    real, fake = line(0, 1, 2, 100), line(1, 1.5, 3)
    found = compare(real, fake, k=2)
    assert found.precision == 1.0
    assert found.density == pytest.approx((4 + 4 + 2) / (2 * 3))
    assert found.coverage == 1.0


def test_equal_distributions_have_density_one_and_coverage_one_minus_a_power_of_a_half():
    # A real ball holds its k-th neighbour at the border. Of the fake vectors and that ball's neighbours,
    # drawn alike, each order is equally likely, so no fake one comes before the k-th real one with
    # probability 2^-k [Naeem et al.].
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 2000, 2, generator=generator)
    found = compare(real, fake, k=3)
    # Shares of 2,000 have a standard deviation of 0.0074, or
    # up to twice that where neighbouring balls go together.
    assert found.coverage == pytest.approx(1 - 2**-3, abs=5 * 0.015)
    assert found.density == pytest.approx(1, abs=0.1)


def test_the_radius_does_not_count_the_point_itself():
    # Nearest others are at 1, 1 and 2; counting itself, k = 1 would give 0.
    assert squared_radii(line(0, 1, 3).double(), k=1, tile=2).tolist() == [1, 1, 4]


def test_a_double_is_a_neighbour_at_distance_zero():
    assert squared_radii(line(5, 5, 7).double(), k=1, tile=2).tolist() == [0, 0, 4]


def test_precision_uses_the_manifold_of_real_and_recall_that_of_fake():
    # Fake sits tightly inside a wide real set: all fake is covered, little of real is.
    real, fake = line(0, 10, 20, 30), line(10, 10.1, 10.2)
    assert compare(real, fake, k=1)[:2] == (1.0, 1 / 4)
    assert compare(fake, real, k=1)[:2] == (1 / 4, 1.0)


def test_identical_sets_cover_each_other():
    # Whole numbers: borders are exact. None of these distances are equal.
    features = torch.randint(-999, 999, (50, 20), generator=torch.Generator().manual_seed(0))
    # Each vector lies in its own ball and in those of which it is one of the k nearest: k each, on average.
    assert compare(features, features.clone()) == (1.0, 1.0, pytest.approx(4 / 3, abs=1e-12), 1.0)


def test_distant_sets_do_not_cover_each_other():
    features = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    assert compare(features, features + 1000) == (0.0, 0.0, 0.0, 0.0)


def test_a_copy_is_at_distance_zero_in_spite_of_rounding():
    vectors = torch.rand(40, 2048, generator=torch.Generator().manual_seed(0)).double()
    assert squared_distances(vectors, vectors.clone()).diagonal().tolist() == [0.0] * 40


def test_copies_of_one_real_vector_recall_that_vector_alone():
    real = torch.rand(40, 2048, generator=torch.Generator().manual_seed(0))
    found = compare(real, real[7].expand(10, -1))
    assert found[:2] == (1.0, 1 / 40)
    assert (
        found.density == found.coverage * 40 / 3
    )  # all copies are alike: they find the same balls, one k-th each


def test_distances_equal_differences():
    # Relative error of |x|^2 + |y|^2 - 2xy: about d * eps * |x|^2 / distance^2, here below 1e-12.
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(9, 64, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = (a[:, None] - b).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(a, b), expected, rtol=1e-12, atol=0)


def test_too_few_vectors_for_k_neighbours_are_refused():
    with pytest.raises(ValueError, match="3 neighbours need more than 3 vectors; there are 3"):
        Manifold.of(torch.zeros(3, 2), k=3)


def test_a_tile_smaller_than_k_serves():
    features = line(0, 1, 3, 6, 10)
    assert squared_radii(features, k=3, tile=1).tolist() == [36, 25, 9, 25, 81]


def test_no_matrix_is_larger_than_a_tile(monkeypatch):
    sizes = []

    def watched(a: Tensor, b: Tensor) -> Tensor:
        sizes.append((len(a), len(b)))
        return squared_distances(a, b)

    monkeypatch.setattr(module, "squared_distances", watched)
    compare(torch.rand(50, 2), torch.rand(30, 2), k=3, tile=16)
    assert max(max(size) for size in sizes) == 16
    # Half of real x real (4 tiles a side) and of fake x fake (2), with the diagonals, and real x fake once.
    assert len(sizes) == 4 * 5 // 2 + 2 * 3 // 2 + 4 * 2
