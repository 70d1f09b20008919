"""Features belong to an image, however images are split into calls."""

import hashlib

import pytest
import torch
from torch import Tensor

from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.features import BATCH_SIZE, NetworkExtractor, build_extractor


def test_extractors_are_those_an_evaluation_may_name():
    from engine.config.experiment import EvaluationProtocol

    assert set(EXTRACTORS) == set(EvaluationProtocol.model_fields["extractor"].annotation.__args__)


def test_every_extractor_says_how_large_its_features_are(extractor, digits, trained_files):
    assert {name: kind.dims for name, kind in EXTRACTORS.items()} == {
        "classifier": 64,
        "dinov2": 1024,
        "inception": 2048,
        "pixels": 64,
    }
    for built in (extractor, build_extractor("pixels", digits, files=trained_files)):
        assert built.dims == EXTRACTORS[built.name].dims


def test_features_are_float32_rows_of_the_declared_size(extractor, digits):
    features = extractor(digits.images[:5])
    assert features.shape == (5, extractor.dims)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("sizes", [[1, 149], [64, 86], [70, 70, 10]])
def test_features_do_not_depend_on_how_images_are_split(extractor, digits, sizes):
    images = digits.images[:150]
    parts = torch.cat([extractor(part) for part in images.split(sizes)])
    assert torch.equal(parts, extractor(images))


def test_features_do_not_depend_on_the_order_of_images(extractor, digits):
    images = digits.images[:150]
    assert torch.equal(extractor(images.flip(0)).flip(0), extractor(images))


def test_the_network_sees_one_batch_shape_only():
    shapes = []

    def network(images: Tensor) -> Tensor:
        shapes.append(len(images))
        return images.float().flatten(1)

    extractor = NetworkExtractor("pixels", 4, "", network, torch.device("cpu"))
    images = torch.arange(4 * (BATCH_SIZE + 3)).remainder(251).to(torch.uint8).reshape(-1, 1, 2, 2)
    assert torch.equal(extractor(images), images.float().flatten(1))
    assert shapes == [BATCH_SIZE, BATCH_SIZE]


def test_the_hash_is_that_of_the_weights_file(extractor, trained_files):
    assert extractor.sha256 == hashlib.sha256(trained_files.read("classifier.safetensors")).hexdigest()


def test_an_unknown_extractor_is_refused(digits, trained_files):
    with pytest.raises(KeyError, match="vgg"):
        build_extractor("vgg", digits, files=trained_files)
