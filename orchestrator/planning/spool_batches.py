"""Spool batches: sets of cells whose images may wait on disk together.

A shared run samples the images of many cells before any of them is measured. So that few images wait, cells
run spool batch by spool batch: the images of one are sampled, measured and deleted before the next begins.
"""

import os
from collections.abc import Iterable

from orchestrator.errors import UsageError
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup, prefix_groups

GIB = 2**30

SPOOL_GIB = 8.0
"""Images of shared runs that may wait on disk at once, in GiB, unless the environment says otherwise."""

SPOOL_VARIABLE = "ORCH_WAITING_GIB"
"""Environment variable with another limit; 0 lets no image wait: every cell is then sampled alone."""

SpoolBatch = tuple[PrefixGroup, ...]
"""Groups whose images may wait at the same time."""


def spool_limit() -> int:
    """Bytes of images that may wait at once. UsageError when the environment variable is no such number."""
    text = os.environ.get(SPOOL_VARIABLE) or str(SPOOL_GIB)
    try:
        limit = int(float(text) * GIB)
    except (ValueError, OverflowError):  # no number, NaN or infinity
        limit = -1
    if limit < 0:
        raise UsageError(
            f"{SPOOL_VARIABLE}={text}: give a number of GiB, such as {SPOOL_GIB:g}, or 0 for none"
        )
    return limit


def spool_batches(cells: Iterable[Cell], limit: int | None = None) -> list[SpoolBatch]:
    """The groups of these cells in order, in spool batches of at most `limit` bytes of waiting images.

    A group that would keep more is cut in the prefix tree's order. Groups that share nothing keep no images.
    Without a `limit`, the environment's holds.
    """
    if limit is None:
        limit = spool_limit()
    batches: list[list[PrefixGroup]] = []
    room = -1  # bytes left in the last batch; there is none yet
    for whole in prefix_groups(cells):
        for group in whole.cut(_cells_within(whole, limit)):
            if group.spooled_bytes > room or not batches:
                batches.append([])
                room = limit
            batches[-1].append(group)
            room -= group.spooled_bytes
    return [tuple(batch) for batch in batches]


def groups_of(batches: Iterable[SpoolBatch]) -> list[PrefixGroup]:
    """The groups of all spool batches: what really runs together."""
    return [group for batch in batches for group in batch]


def spooled_groups(cells: Iterable[Cell]) -> list[PrefixGroup]:
    """The groups of these cells as they run, cut to the limit on waiting images."""
    return groups_of(spool_batches(cells))


def _cells_within(group: PrefixGroup, limit: int) -> int:
    """How many of a group's cells may wait together: all that are sampled alone, else at least one."""
    return max(1, limit // group.cell_bytes) if group.shares else len(group.cells)
