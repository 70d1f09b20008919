"""Data sets: the catalogue's facts, what a missing set says, and the conversion between bytes and numbers."""

import gzip
import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data.base import DataNotFound
from engine.data.catalog import missing_files
from engine.data.datasets import ImageSet, load_images, to_uint8, to_unit
from engine.data.registry import DATASETS
from engine.data.sets.fashion_mnist import read_idx

FASHION = DATASETS["fashion_mnist"].files


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits", None)


def write_idx(path: Path, values: np.ndarray, pack: bool) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    data = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if pack else data)


def test_digits_are_what_the_catalogue_says(digits):
    info = DATASETS["digits"]
    assert digits.images.shape == (info.num_images, info.channels, info.resolution, info.resolution)
    assert digits.images.dtype == torch.uint8
    assert digits.labels.dtype == torch.int64
    assert digits.labels.unique().tolist() == list(range(info.num_classes))


def test_digits_spread_their_17_grey_levels_over_all_bytes(digits):
    # v * 255 / 16 for v = 0..16; only v = 8 is a tie (127.5), which goes to the even 128.
    expected = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert digits.images.unique().tolist() == expected


def test_the_first_digit_is_the_zero_of_scikit_learn(digits):
    assert int(digits.labels[0]) == 0
    assert digits.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0


def test_the_hash_is_of_pixel_bytes_then_label_bytes():
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    labels = torch.tensor([1, 0])
    expected = hashlib.sha256(bytes(range(8)) + bytes([1, *[0] * 7]) + bytes(8)).hexdigest()
    assert ImageSet.of(images, labels).sha256 == expected


def test_the_hash_does_not_depend_on_memory_layout():
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 2, 2, 3)
    labels = torch.tensor([0, 1])
    assert ImageSet.of(images.permute(0, 3, 1, 2), labels).sha256 == (
        ImageSet.of(images.permute(0, 3, 1, 2).contiguous(), labels).sha256
    )


def test_a_grid_may_name_the_three_data_sets_in_their_order():
    from engine.config.experiment import Data

    assert Data.model_fields["name"].annotation.__args__ == ("digits", "cifar10", "fashion_mnist")


def test_a_split_that_there_is_not_is_refused_before_any_file_is_looked_for():
    with pytest.raises(KeyError, match="digits has no test split"):
        load_images("digits", None, "test")


def test_digits_are_always_available():
    assert missing_files("digits", None) == []


@pytest.mark.parametrize("root", [None, Path("no-such-folder")])
def test_without_its_files_a_data_set_misses_all_of_them(root):
    assert missing_files("cifar10", root) == list(DATASETS["cifar10"].files)


def test_a_data_set_misses_only_the_absent_files(tmp_path):
    write_idx(tmp_path / FASHION[1], np.zeros(3), pack=True)
    assert missing_files("fashion_mnist", tmp_path) == [FASHION[0]]


def test_unpacked_files_are_as_good_as_packed_ones(tmp_path):
    for file in FASHION:
        write_idx(tmp_path / file.removesuffix(".gz"), np.zeros(3), pack=False)
    assert missing_files("fashion_mnist", tmp_path) == []


def test_a_missing_data_set_says_where_it_looked_what_is_missing_and_what_to_do(tmp_path):
    with pytest.raises(DataNotFound) as caught:
        load_images("cifar10", tmp_path)
    message = str(caught.value)
    assert f"cifar10 is not in {tmp_path}" in message
    assert "cifar-10-batches-py/data_batch_3" in message
    assert "--data-root" in message
    assert "ORCH_DATA_ROOT" in message
    assert f"torchvision.datasets.CIFAR10('{tmp_path}', download=True)" in message


def test_a_data_set_without_a_root_says_so():
    with pytest.raises(DataNotFound, match="fashion_mnist needs a data root and none is given"):
        load_images("fashion_mnist", None)


def test_the_error_survives_pickling():
    error = DataNotFound("cifar10 is not here")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_altered_cifar10_files_are_refused_unread(tmp_path):
    for file in DATASETS["cifar10"].files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"not what was published")
    with pytest.raises(DataNotFound, match="differs from its published MD5"):
        load_images("cifar10", tmp_path)


def test_a_set_with_the_wrong_number_of_images_is_refused(tmp_path):
    write_idx(tmp_path / FASHION[0], np.zeros((5, 28, 28)), pack=True)
    write_idx(tmp_path / FASHION[1], np.zeros(5), pack=True)
    with pytest.raises(DataNotFound, match=r"images \(5, 1, 28, 28\)"):
        load_images("fashion_mnist", tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_packed_or_not(tmp_path, packed):
    values = np.arange(24).reshape(2, 3, 4)
    write_idx(tmp_path / ("values.gz" if packed else "values"), values, pack=packed)
    assert read_idx(tmp_path, "values.gz").tolist() == values.tolist()


def test_bytes_come_back_unchanged_from_the_unit_range():
    every_byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_unit(every_byte)), every_byte)


def test_the_unit_range_ends_at_minus_one_and_one():
    assert to_unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_numbers_go_to_the_nearest_byte_and_stay_in_range():
    # Byte b stands for x = b / 127.5 - 1, so b - 1 and b meet at (b - 0.5) / 127.5 - 1;
    # here for b = 1 and b = 128.
    borders = torch.tensor([0.5 / 127.5 - 1, 0.0], dtype=torch.float64)
    assert to_uint8(borders + 1e-12).tolist() == [1, 128]
    assert to_uint8(borders - 1e-12).tolist() == [0, 127]
    assert to_uint8(torch.tensor([-9.0, -1.0, 1.0, 9.0])).tolist() == [0, 0, 255, 255]


def test_the_catalogue_needs_no_torch():
    code = "import sys, engine.data.catalog, engine.metrics.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_test_split_of_fashion_mnist_is_read_from_files_of_its_own(tmp_path, monkeypatch):
    info = replace(DATASETS["fashion_mnist"], num_test_images=3)
    monkeypatch.setitem(DATASETS._kinds, "fashion_mnist", info)
    pixels, labels = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256, np.array([7, 0, 9])
    for file, values in zip(info.test_files, (pixels, labels), strict=True):
        write_idx(tmp_path / file, values, pack=True)
    assert missing_files("fashion_mnist", tmp_path)
    split = load_images("fashion_mnist", tmp_path, "test")
    assert split.images[:, 0].tolist() == pixels.tolist()
    assert split.labels.tolist() == [7, 0, 9]


def test_a_missing_test_split_names_its_own_files(tmp_path):
    with pytest.raises(DataNotFound, match="t10k-images"):
        load_images("fashion_mnist", tmp_path, "test")
