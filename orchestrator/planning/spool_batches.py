"""Waves of cells: each is drawn, measured and its images deleted before the next, so that few images wait on
disk."""

import os
from collections.abc import Iterable

from orchestrator.errors import UsageError
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup, prefix_groups

GIB = 2**30

SPOOL_GIB = 8.0
"""Images of common passes that may wait on disk at once, in GiB, unless the cluster's environment says
otherwise."""

SPOOL_VARIABLE = "ORCH_WAITING_GIB"
"""Environment variable with another limit; 0 lets no image wait: every cell is then drawn alone."""

SpoolBatch = tuple[PrefixGroup, ...]
"""Groups whose images may wait at the same time."""


def spool_limit() -> int:
    """Bytes of images that may wait at once. Raises UsageError when the environment variable is no such
    number."""
    text = os.environ.get(SPOOL_VARIABLE) or str(SPOOL_GIB)
    try:
        return int(float(text) * GIB) if float(text) >= 0 else _refused(text)
    except (ValueError, OverflowError):
        return _refused(text)


def spool_batches(cells: Iterable[Cell], limit: int | None = None) -> list[SpoolBatch]:
    """The groups of these cells, those of a wave with at most `limit` bytes of waiting images, in order.

    A group that would keep more is cut in the tree's order. Groups that are not drawn together keep none.
    Without a `limit`, the environment's holds.
    """
    limit = spool_limit() if limit is None else limit
    found, room = list[list[PrefixGroup]](), -1
    for group in (part for whole in prefix_groups(cells) for part in whole.cut(_cells_within(whole, limit))):
        if not found or group.spooled_bytes > room:
            found.append([])
            room = limit
        found[-1].append(group)
        room -= group.spooled_bytes
    return [tuple(wave) for wave in found]


def spooled_groups(cells: Iterable[Cell]) -> list[PrefixGroup]:
    """The groups of all waves: what is really drawn together."""
    return [group for wave in spool_batches(cells) for group in wave]


def _cells_within(group: PrefixGroup, limit: int) -> int:
    """How many of a group's cells may wait together: all where they are drawn one by one, else one at the
    least."""
    return max(1, limit // group.cell_bytes) if group.shares else len(group.cells)


def _refused(text: str) -> int:
    raise UsageError(f"{SPOOL_VARIABLE}={text}: give a number of GiB, such as {SPOOL_GIB:g}, or 0 for none")
