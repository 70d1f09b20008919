"""The picture of sample images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data.images import save_grid


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_images_fill_rows_and_white_lines_separate_them():
    images = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1, 1)
    assert pixels(save_grid(images, columns=2, scale=1)).tolist() == [
        [10, 255, 20],
        [255, 255, 255],
        [30, 255, 255],
    ]


def test_each_pixel_becomes_a_square():
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).reshape(1, 1, 2, 2)
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert pixels(save_grid(image, columns=1, scale=2)).tolist() == expected


def test_colours_keep_their_order():
    image = torch.tensor([200, 100, 50], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert pixels(save_grid(image, columns=1, scale=1)).tolist() == [[[200, 100, 50]]]


def test_fewer_images_than_columns_make_a_narrower_picture():
    assert pixels(save_grid(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), columns=8, scale=1)).shape == (4, 9)


def test_the_same_images_give_the_same_bytes():
    images = torch.arange(192, dtype=torch.uint8).reshape(4, 3, 4, 4)
    assert save_grid(images, columns=2, scale=3) == save_grid(images.clone(), columns=2, scale=3)


@pytest.mark.parametrize("shape", [(4, 2, 8, 8), (0, 1, 8, 8), (1, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="a grid takes images"):
        save_grid(torch.zeros(shape, dtype=torch.uint8), columns=2, scale=1)
