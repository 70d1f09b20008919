"""References are computed once, and real, half-real and noise images are told apart."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.data.datasets import ImageSet
from engine.files import LocalFiles
from engine.metrics import reference as module
from engine.metrics.features import FeatureExtractor, NetworkExtractor
from engine.metrics.frechet import FeatureStats, frechet_distance
from engine.metrics.kinds.distance import DISTANCE
from engine.metrics.kinds.overlap import OVERLAP
from engine.metrics.reference import Reference, load_reference


def measure(extractor: Any, reference: Reference, images: Tensor, k: int) -> SimpleNamespace:
    """Distance and overlap of images as a cell gets them."""
    cell: Any = SimpleNamespace(
        experiment=SimpleNamespace(eval=SimpleNamespace(nearest_k=k)),
        images=images,
        features=extractor(images),
        extractor=extractor,
        reference=reference,
    )
    metrics = {**DISTANCE.measure(cell), **OVERLAP.measure(cell)}
    return SimpleNamespace(metrics=metrics, jackknife=DISTANCE.left_out(cell))


@pytest.fixture(scope="module")
def reference(extractor, digits, tmp_path_factory) -> Reference:
    return load_reference(extractor, digits, files=LocalFiles(tmp_path_factory.mktemp("reference")))


def pixels_extractor(sha256: str = "") -> FeatureExtractor:
    def network(images: Tensor) -> Tensor:
        return images.float().flatten(1)

    return NetworkExtractor("pixels", 4, sha256, network, torch.device("cpu"))


def tiny_images(count: int, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8, generator=generator)
    return ImageSet.of(images, torch.zeros(count))


def test_the_reference_has_statistics_and_features_of_the_whole_set(reference, extractor, digits):
    assert reference.stats.count == 1797
    assert torch.equal(reference.features, extractor(digits.images))


def test_a_stored_reference_is_read_and_not_computed_again(tmp_path):
    images, files = tiny_images(9), LocalFiles(tmp_path)
    first = load_reference(pixels_extractor(), images, files=files)

    def refuse(images: Tensor) -> Tensor:
        raise AssertionError("computed although stored")

    again = load_reference(
        NetworkExtractor("pixels", 4, "", refuse, torch.device("cpu")), images, files=files
    )
    assert again.id == first.id
    assert torch.equal(again.features, first.features)
    assert torch.equal(again.stats.outer, first.stats.outer)


@pytest.mark.parametrize(("images", "weights"), [(tiny_images(9, seed=1), ""), (tiny_images(9), "other")])
def test_a_stored_reference_of_other_images_or_weights_is_replaced(tmp_path, images, weights):
    files = LocalFiles(tmp_path)
    first = load_reference(pixels_extractor(), tiny_images(9), files=files)
    second = load_reference(pixels_extractor(weights), images, files=files)
    assert second.id != first.id
    assert torch.equal(second.features, images.images.float().flatten(1))


def test_a_large_set_keeps_the_first_features_but_all_statistics(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE_SET", 20)
    monkeypatch.setattr(module, "MANIFOLD_SIZE", 10)
    for count, kept in [(20, 20), (21, 10)]:
        images = tiny_images(count)
        reference = load_reference(pixels_extractor(), images, files=LocalFiles(tmp_path))
        assert torch.equal(reference.features, images.images[:kept].float().flatten(1))
        assert reference.stats.count == count


def test_real_digits_against_themselves_are_perfect(reference, extractor, digits):
    # Rounding alone: 2 * d * sqrt(d * eps) * L, where L is
    # the covariance's largest eigenvalue (see test_frechet).
    largest = float(torch.linalg.eigvalsh(reference.stats.covariance)[-1])
    bound = 2 * 64 * math.sqrt(64 * torch.finfo(torch.float64).eps) * largest
    metrics = measure(extractor, reference, digits.images, k=3).metrics
    assert list(metrics) == ["fd_classifier", "precision", "recall", "density", "coverage"]
    assert 0 <= metrics["fd_classifier"] <= bound
    assert (metrics["precision"], metrics["recall"], metrics["coverage"]) == (1.0, 1.0, 1.0)
    # Each image lies in its own ball and in k others on average;
    # 0.001 leaves room for five borders that round.
    assert metrics["density"] == pytest.approx(4 / 3, abs=1e-3)


def test_half_of_the_digits_are_nearer_than_blurred_ones_and_those_nearer_than_noise(
    reference, extractor, digits
):
    half = digits.images[::2]
    blurred = torch.nn.functional.avg_pool2d(half.float(), 3, stride=1, padding=1).to(torch.uint8)
    noise = torch.randint(0, 256, half.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    near, far, farthest = (
        measure(extractor, reference, images, k=3).metrics for images in (half, blurred, noise)
    )
    assert near["fd_classifier"] < 0.1 * far["fd_classifier"]
    assert far["fd_classifier"] < farthest["fd_classifier"]
    assert near["precision"] == 1.0  # every one of them is in the reference
    assert farthest["precision"] < 0.1
    assert near["recall"] > 0.9
    assert farthest["recall"] < 0.5 * near["recall"]  # not 0: noise lies so far apart that its balls are wide


def test_missing_classes_cost_recall_but_not_precision(reference, extractor, digits):
    metrics = measure(extractor, reference, digits.images[digits.labels < 3], k=3).metrics
    assert metrics["precision"] == 1.0
    assert metrics["recall"] < 0.4  # three of ten classes, and what lies near them
    assert metrics["coverage"] < 0.4


def test_what_the_reference_alone_decides_is_computed_once(extractor, digits):
    real = extractor(digits.images)
    reference = Reference(FeatureStats.of(real), real, "")
    assert reference.gaussian is reference.gaussian
    assert reference.manifold(3) is reference.manifold(3)
    assert reference.manifold(3).k == 3
    assert reference.manifold(5).k == 5


def test_the_distance_is_that_of_the_features_statistics():
    # One dimension varies: reference pixels 0 and 2, generated 1 and 5; means 1 and 3, variances 2 and 8.
    def column(*values: int) -> Tensor:
        return torch.nn.functional.pad(torch.tensor(values, dtype=torch.uint8)[:, None], (0, 3)).reshape(
            -1, 1, 2, 2
        )

    extractor = pixels_extractor()
    real = extractor(column(0, 2))
    metrics = measure(extractor, Reference(FeatureStats.of(real), real, ""), column(1, 5), k=1).metrics
    assert metrics["fd_pixels"] == pytest.approx((1 - 3) ** 2 + (math.sqrt(2) - math.sqrt(8)) ** 2, rel=1e-12)


@pytest.mark.parametrize(("count", "enough"), [(200, True), (199, False)])
def test_enough_images_also_have_distances_with_a_block_left_out(count, enough):
    extractor, images = pixels_extractor(), tiny_images(count, seed=1).images
    real = extractor(tiny_images(300).images)
    measured = measure(extractor, Reference(FeatureStats.of(real), real, ""), images, k=1)
    assert list(measured.jackknife) == (["fd_pixels"] if enough else [])
    if enough:
        others = extractor(images[20:])
        first = frechet_distance(FeatureStats.of(real).gaussian, FeatureStats.of(others).gaussian)
        assert measured.jackknife["fd_pixels"][0] == pytest.approx(first, rel=1e-9)  # sums in another order
