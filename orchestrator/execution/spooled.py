"""Which images of a shared run wait in the store already: what an interrupted run left behind."""

from collections.abc import Sequence

from engine.records import paths
from orchestrator.planning.unit import Unit
from orchestrator.storage.store import Folder


def missing_batches(unit: Unit, folders: Sequence[Folder]) -> dict[tuple[int, ...], list[int]]:
    """What an interrupted shared run has left: places of cells that lack the same batches -> these."""
    batch_size = unit.spec.eval.batch_size
    left: dict[tuple[int, ...], list[int]] = {}
    for number in unit.batches:
        path = paths.spooled_batch(number * batch_size)
        lacking = tuple(place for place, folder in enumerate(folders) if not folder.exists(path))
        left.setdefault(lacking, []).append(number)
    return {lacking: batches for lacking, batches in left.items() if lacking}


def has_spooled_images(folder: Folder) -> bool:
    """Whether images of a cell wait to be measured: some or all, from a shared run before."""
    return paths.SPOOL in folder.folders()
