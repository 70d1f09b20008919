"""The real digits and their classifier, trained once for all tests of this folder."""

import pytest

from engine.data.datasets import ImageSet, load_images
from engine.files import LocalFiles
from engine.metrics.features import FeatureExtractor, build_extractor


@pytest.fixture(scope="package")
def digits() -> ImageSet:
    return load_images("digits", None)


@pytest.fixture(scope="package")
def trained_files(digits, tmp_path_factory) -> LocalFiles:
    """Files in which the digits' classifier is kept."""
    files = LocalFiles(tmp_path_factory.mktemp("classifier"))
    build_extractor("classifier", digits, files=files)
    return files


@pytest.fixture(scope="package")
def extractor(digits, trained_files) -> FeatureExtractor:
    return build_extractor("classifier", digits, files=trained_files)
