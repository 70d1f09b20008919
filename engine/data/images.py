"""Sample images as a picture."""

import io

import torch
from PIL import Image
from torch import Tensor

SEPARATOR = 255
"""Grey value of the one-pixel lines between images and of empty places."""


def save_grid(images: Tensor, columns: int, scale: int) -> bytes:
    """PNG bytes of images uint8 [N, 1 or 3, H, W], N at least
    1, row by row, each pixel a square of side `scale`.

    One-pixel white lines separate the images. The same images give the same bytes.
    ValueError for other shapes.
    """
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"a grid takes images [N, 1 or 3, H, W], not {tuple(images.shape)}")
    count, channels = images.shape[:2]
    tiles = images.cpu().repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    height, width = tiles.shape[2] + 1, tiles.shape[3] + 1
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = torch.full((channels, rows * height - 1, columns * width - 1), SEPARATOR, dtype=torch.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        canvas[:, top : top + height - 1, left : left + width - 1] = tile
    pixels = canvas[0] if channels == 1 else canvas.permute(1, 2, 0).contiguous()
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
