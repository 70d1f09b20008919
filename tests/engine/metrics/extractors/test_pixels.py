"""The projection of the pixels: fixed, of equal bits
everywhere, and near enough to a map that keeps distances."""

import math

import torch

from engine.data.datasets import ImageSet
from engine.files import LocalFiles
from engine.metrics.extractors.kinds.pixels import DIMS, projection
from engine.metrics.features import build_extractor


def images(count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return ImageSet.of(pixels, torch.zeros(count))


def test_the_matrix_has_the_bits_it_always_had(tmp_path):
    extractor = build_extractor("pixels", images(1, seed=0), files=LocalFiles(tmp_path))
    assert extractor.sha256 == "fb5f7d2261aaf5bbb6a79d82ca00da3297ef754114eaebadc356e718086ff46a"


def test_nothing_of_the_images_but_their_size_counts(tmp_path):
    one, other = (build_extractor("pixels", images(3, seed), files=LocalFiles(tmp_path)) for seed in (0, 1))
    assert one.sha256 == other.sha256
    assert list(tmp_path.iterdir()) == []


def test_features_are_signed_sums_of_pixels_between_minus_one_and_one(tmp_path):
    extractor = build_extractor("pixels", images(1, seed=0), files=LocalFiles(tmp_path))
    signs = (projection(3 * 16 * 16) * math.sqrt(DIMS)).double()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    white = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    # Sums of 768 whole numbers over 8 are exact in float32.
    assert torch.equal(extractor(white)[0].double(), signs.sum(dim=1) / math.sqrt(DIMS))
    assert torch.equal(extractor(0 * white), -extractor(white))


def test_distances_are_kept_as_well_as_64_dimensions_can(tmp_path):
    batch = images(40, seed=2)
    extractor = build_extractor("pixels", batch, files=LocalFiles(tmp_path))
    pixels = batch.images.double().flatten(1) / 127.5 - 1
    ratios = (torch.pdist(extractor(batch.images).double()) / torch.pdist(pixels)).square()
    # Over matrices a ratio has mean 1 and standard deviation below sqrt(2 / 64) = 0.18; the 780 pairs share
    # one matrix and 40 images, so their mean is at least as sure as that of 40 / 2 independent pairs: 5 *
    # 0.18 / sqrt(20) = 0.2.
    assert abs(float(ratios.mean()) - 1) < 0.2
    assert 0.05 < float(ratios.std()) < 0.3
