"""The order of cells in which few images wait on disk: batch by batch, shared runs first."""

from collections.abc import Mapping, Sequence

from orchestrator.execution.job import Job
from orchestrator.execution.spooled import has_spooled_images
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.spool_batches import SpoolBatch, spool_batches
from orchestrator.planning.unit import Unit
from orchestrator.storage.store import Store


def units_in_spool_order(cells: Sequence[Cell], job: Job) -> list[Unit]:
    """The units of these cells and of the shared runs that sample for them, in running order."""
    unit_of = {cell.cell_id: job.unit_of_cell(cell) for cell in cells}
    ordered: list[Unit] = []
    for batch in spool_batches_left(cells, job.store):
        ordered += spool_batch_units(batch, unit_of, job)
    return ordered


def spool_batches_left(cells: Sequence[Cell], store: Store) -> list[SpoolBatch]:
    """Spool batches of cells. Those that have images from an interrupted run come first, so that no others
    join them and the disk holds no more than the limit."""
    begun: list[Cell] = []  # their images count against the limit already
    untouched: list[Cell] = []
    for cell in cells:
        has_images = has_spooled_images(store.cell(cell.cell_id))
        (begun if has_images else untouched).append(cell)
    return [*spool_batches(begun), *spool_batches(untouched)]


def spool_batch_units(batch: SpoolBatch, unit_of: Mapping[str, Unit], job: Job) -> list[Unit]:
    """A spool batch's shared runs, then its cells: those that need the shared runs' images first."""
    sharing = [group for group in batch if group.shares]
    alone = [group for group in batch if not group.shares]
    shared_runs = [unit for group in sharing for unit in shared_run_units(group, unit_of, job)]
    measured = [unit_of[cell.cell_id] for group in (*sharing, *alone) for cell in group.cells]
    return [*shared_runs, *measured]


def shared_run_units(group: PrefixGroup, unit_of: Mapping[str, Unit], job: Job) -> list[Unit]:
    """Units that sample many cells' images in one walk, in blocks: a lost block costs its images only."""
    like = unit_of[group.cells[0].cell_id]
    blocks = [Unit.of_shared_run(cells, batches, like) for cells, batches in group.shared_runs(job.slots())]
    job.progress.expect_shared_runs([cell.cell_id for cell in group.cells], [unit.unit_id for unit in blocks])
    return blocks
