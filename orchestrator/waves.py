"""Waves of cells: each is drawn, measured and its images deleted before the next, so that few images wait on disk."""

import os
from collections.abc import Iterable

from orchestrator.errors import UsageError
from orchestrator.plan import Cell
from orchestrator.sharing import Group, groups

GIB = 2**30

WAITING_GIB = 8.0
"""Images of common passes that may wait on disk at once, in GiB, unless the cluster's environment says otherwise."""

WAITING_VARIABLE = "ORCH_WAITING_GIB"
"""Environment variable with another limit; 0 lets no image wait: every cell is then drawn alone."""

Wave = tuple[Group, ...]
"""Groups whose images may wait at the same time."""


def waiting_limit() -> int:
    """Bytes of images that may wait at once. Raises UsageError when the environment variable is no such number."""
    text = os.environ.get(WAITING_VARIABLE) or str(WAITING_GIB)
    try:
        return int(float(text) * GIB) if float(text) >= 0 else _refused(text)
    except (ValueError, OverflowError):
        return _refused(text)


def waves(cells: Iterable[Cell], limit: int | None = None) -> list[Wave]:
    """The groups of these cells, those of a wave with at most `limit` bytes of waiting images, in order.

    A group that would keep more is cut in the tree's order. Groups that are not drawn together keep none.
    Without a `limit`, the environment's holds.
    """
    limit = waiting_limit() if limit is None else limit
    found, room = list[list[Group]](), -1
    for group in (part for whole in groups(cells) for part in whole.cut(_cells_within(whole, limit))):
        if not found or group.waiting_bytes > room:
            found.append([])
            room = limit
        found[-1].append(group)
        room -= group.waiting_bytes
    return [tuple(wave) for wave in found]


def drawn_groups(cells: Iterable[Cell]) -> list[Group]:
    """The groups of all waves: what is really drawn together."""
    return [group for wave in waves(cells) for group in wave]


def _cells_within(group: Group, limit: int) -> int:
    """How many of a group's cells may wait together: all where they are drawn one by one, else one at the least."""
    return max(1, limit // group.cell_bytes) if group.shares else len(group.cells)


def _refused(text: str) -> int:
    raise UsageError(f"{WAITING_VARIABLE}={text}: give a number of GiB, such as {WAITING_GIB:g}, or 0 for none")
