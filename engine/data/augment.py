"""EDM's non-leaky augmentation: change the images, and tell the network how [P3 F.2, Table 6; playbook 1.3].

In the order in which they act:

    change       kind               drawn                    labels            active
    x-flip       pixels, exact      half of the images       0 or 1            always
    y-flip       pixels, exact      half of the images       0 or 1            with the given probability
    scale        resampled          2^(0.2 n)                n                 with the given probability
    rotation     resampled          angle a in (-pi, pi)     cos a - 1, sin a  with the given probability
    stretch      resampled          2^(0.2 n) along axis r   n cos r, n sin r  with the given probability
    translation  resampled          0.125 n of each side     n_x, n_y          with the given probability

Every n is a standard normal draw. What is not active is labelled 0, so labels of
zeros mean an image as it is. A stretch widens the image along its axis, which is
horizontal half of the time, and narrows it across. The pairs (n, r) and (-n, r +
pi) share their labels although one widens where the other narrows: so it is in EDM.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_DRAWS = 13
"""Uniform draws an image takes, in the order of `draw_changes`."""

SCALE_STD = 0.2
"""Standard deviation of log2 of a scale or a stretch."""

TRANSLATION_STD = 0.125
"""Standard deviation of a translation, in sides of the image."""

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass filter of Daubechies' least asymmetric wavelet with six vanishing moments."""

FIXED_POINT = -0.5
"""What a turn, a scale or a stretch leaves in place, in fine pixels right and down of the centre.

The filter's centre of mass is 0.402 taps before the middle of its taps, so the fine image lies up and left of
where it should. EDM makes up for it by half a fine pixel, to the nearest that its code can express [P3 code].
"""


@dataclass(frozen=True, eq=False)
class Changes:
    """What is done to each of B images; all tensors are [B],
    float64 but for the flips, and 0 where not active."""

    x_flip: Tensor
    y_flip: Tensor
    scale: Tensor
    angle: Tensor
    stretch: Tensor
    axis: Tensor
    shift_x: Tensor
    shift_y: Tensor

    @property
    def labels(self) -> Tensor:
        """What the network is told, float32 [B, 9]."""
        rotation = (self.angle.cos() - 1, self.angle.sin())
        stretch = (self.stretch * self.axis.cos(), self.stretch * self.axis.sin())
        columns = (self.x_flip, self.y_flip, self.scale, *rotation, *stretch, self.shift_x, self.shift_y)
        return torch.stack([column.float() for column in columns], dim=1)

    @property
    def resampled(self) -> Tensor:
        """Indices of the images that flips alone do not make, int64 [active]."""
        fractional = torch.stack([self.scale, self.angle, self.stretch, self.shift_x, self.shift_y])
        return fractional.any(0).nonzero()[:, 0]


def draw_changes(draws: Tensor, probability: float) -> Changes:
    """Changes from uniform draws [B, 13] in (0, 1); the columns are named in the first line.

    A flip is one draw; every other change has a first draw that decides whether it is active. `tilts` decides
    whether the axis of a stretch is turned away from the horizontal.
    """
    (
        x_flip, y_flip, scales, scale, turns, angle, stretches, stretch, tilts, axis, shifts, shift_x, shift_y
    ) = draws.unbind(1)  # fmt: skip

    def normal(draw: Tensor, gate: Tensor) -> Tensor:
        return torch.where(gate < probability, torch.special.ndtri(draw), 0.0)

    def angles(draw: Tensor, gate: Tensor, below: float) -> Tensor:
        return torch.where(gate < below, (2 * draw - 1) * math.pi, 0.0)

    return Changes(
        x_flip=x_flip < 0.5,
        y_flip=y_flip < probability * 0.5,
        scale=normal(scale, scales),
        angle=angles(angle, turns, probability),
        stretch=normal(stretch, stretches),
        axis=angles(axis, tilts, 0.5),
        shift_x=normal(shift_x, shifts),
        shift_y=normal(shift_y, shifts),
    )


def augment(images: Tensor, draws: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Augmented images [B, C, H, W] and their labels float32 [B, 9], a pure function of the arguments.

    `images` are float32 in [-1, 1], `draws` float64 [B, 13] uniform in (0, 1), from
    `engine.noise.uniforms`. Images that are only flipped keep their pixels bit for bit;
    resampled ones may leave [-1, 1] a little, as in EDM. Which images are resampled is
    decided where the draws lie: draws on the CPU spare a GPU the wait for that.
    """
    changes = draw_changes(draws, probability)
    flips = torch.stack([changes.x_flip, changes.y_flip]).to(images.device)[:, :, None, None, None]
    images = torch.where(flips[0], images.flip(3), images)
    images = torch.where(flips[1], images.flip(2), images)
    active = changes.resampled
    if len(active) > 0:
        height, width = images.shape[2:]
        matrix = _sampling_matrix(changes, height, width)[active].to(images.device)
        index = active.to(images.device)
        images[index] = _resample(images[index], matrix)
    return images, changes.labels.to(images.device)


def _sampling_matrix(changes: Changes, height: int, width: int) -> Tensor:
    """Where each pixel of the result comes from: [B, 2, 3] maps (x, y, 1)
    to (x, y), in pixels from the centre.

    The image is scaled, then turned, stretched and moved; the map back undoes the last change first. The y
    axis points down, so a positive angle turns the image anticlockwise.
    """
    grow = torch.exp2(-SCALE_STD * changes.scale)[:, None, None]
    widen = torch.exp2(-SCALE_STD * changes.stretch)
    diagonal = torch.diag_embed(torch.stack([widen, 1 / widen], dim=1))
    stretch = _turn(-changes.axis) @ diagonal @ _turn(changes.axis)
    linear = grow * _turn(changes.angle) @ stretch
    shift = TRANSLATION_STD * torch.stack([width * changes.shift_x, height * changes.shift_y], dim=1)
    return torch.cat([linear, -linear @ shift[:, :, None]], dim=2)


def _turn(angle: Tensor) -> Tensor:
    """Matrices [B, 2, 2] that turn the x axis towards the y axis."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)


def _on_the_fine_grid(matrix: Tensor) -> Tensor:
    """The map [B, 2, 3] of pixels as one of fine pixels, which
    leaves FIXED_POINT where the other leaves the centre."""
    linear = matrix[:, :, :2]
    # Twice the resolution makes every way twice as long.
    shift = 2 * matrix[:, :, 2:]
    fixed_point = torch.full_like(shift, FIXED_POINT)
    return torch.cat([linear, shift + fixed_point - linear @ fixed_point], dim=2)


def _resample(images: Tensor, matrix: Tensor) -> Tensor:
    """Mirror the images at their edges, double their resolution,
    read them where `matrix` says, halve it again.

    Up and down go through the same orthonormal filter, so an identity matrix gives the images back. Mirrored
    images reach one side beyond every edge; there is zero further out.
    """
    height, width = images.shape[2:]
    up_y, up_x = (
        _filters(3 * side - 2, images.device) @ _mirror(side, images.device) for side in (height, width)
    )
    fine = up_y @ images @ up_x.mT
    down_y, down_x = (_filters(side, images.device) for side in (height, width))
    shape = (*images.shape[:2], len(down_y), len(down_x))
    # The grid's coordinates run from -1 to 1 over the sides,
    # of the image that is read and of the one that is made.
    scale_in = torch.tensor([2 / fine.shape[3], 2 / fine.shape[2]], dtype=matrix.dtype, device=matrix.device)
    scale_out = torch.tensor([shape[3] / 2, shape[2] / 2, 1], dtype=matrix.dtype, device=matrix.device)
    fine_matrix = scale_in[:, None] * _on_the_fine_grid(matrix) * scale_out
    grid = F.affine_grid(fine_matrix, list(shape), align_corners=False)
    return down_y.mT @ F.grid_sample(fine, grid.to(fine.dtype), align_corners=False) @ down_x


@cache
def _filters(count: int, device: torch.device) -> Tensor:
    """The low-pass filter at every second of 2 count + 10 fine pixels:
    [2 count + 10, count], orthonormal columns.

    The matrix takes `count` pixels to the fine grid, its transpose takes them back.
    """
    length = len(SYM6)
    columns = torch.arange(count)[:, None]
    matrix = torch.zeros(2 * count + length - 2, count)
    matrix[2 * columns + torch.arange(length), columns] = torch.tensor(SYM6)
    return matrix.to(device)


@cache
def _mirror(side: int, device: torch.device) -> Tensor:
    """The matrix [3 side - 2, side] that mirrors a row of pixels at both ends, which are not repeated."""
    distance = torch.arange(1 - side, 2 * side - 1).abs()
    return torch.eye(side)[torch.minimum(distance, 2 * (side - 1) - distance)].to(device)
