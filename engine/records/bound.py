"""bound.json of a cell: the terms of its variational bound, in bits per dimension."""

from engine.records.record import Record


class BoundStep(Record):
    """One reverse step."""

    timestep: int
    """The timestep that it leaves."""
    kl: float


class BoundRecord(Record):
    """Means over images."""

    total: float
    stderr: float | None = None
    """Of the total, over images and the noise they met; None for a single image."""
    prior: float
    decoder: float
    steps: tuple[BoundStep, ...]
    num_images: int
