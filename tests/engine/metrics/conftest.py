"""The real digits and their classifier, trained once for all tests of this folder."""

from collections.abc import Iterator

import pytest
import torch

from engine.data.datasets import ImageSet, load_images
from engine.files import LocalFiles
from engine.metrics.features import FeatureExtractor, build_extractor


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
