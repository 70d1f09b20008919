"""What a plan says of shared runs: what they save, and in how many spool batches they run."""

from collections.abc import Iterable, Sequence

from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup, prefix_groups
from orchestrator.planning.spool_batches import GIB, SPOOL_VARIABLE, SpoolBatch, groups_of, spool_limit
from reports.formatting import counted


def sharing_lines(cells: Iterable[Cell], batches: Sequence[SpoolBatch]) -> list[str]:
    """Lines on what is saved by doing once what samplers of the same weights do alike; none where nothing
    is. `batches` are the cells' own spool batches."""
    lines: list[str] = []
    sharing = [group for group in groups_of(batches) if group.shares]
    if sharing:
        lines.append(saved_words(sharing))
    whole = [group for group in prefix_groups(cells) if group.shares]
    limit = limit_words(whole, batches)
    if limit:
        lines.append(limit)
    return lines


def saved_words(sharing: Sequence[PrefixGroup]) -> str:
    """What groups with a shared run save."""
    alone = sum(group.alone for group in sharing)
    together = sum(group.together for group in sharing)
    cells = [cell for group in sharing for cell in group.cells]
    naive = sum(len(cell.points) * cell.experiment.sample.nfe for cell in cells)
    words = (
        f"shared: {len(cells):,} cells are drawn in common passes, {together:,} network "
        f"evaluations per image instead of {alone:,} ({alone / together:.1f}x fewer)"
    )
    if naive > alone:
        words += f"; one by one, their points would take {naive:,} ({naive / together:.1f}x)"
    return words


def limit_words(whole: Sequence[PrefixGroup], batches: Sequence[SpoolBatch]) -> str | None:
    """What the limit on waiting images costs groups that could run as a whole; None where it cuts nothing."""
    could = {cell.cell_id for group in whole for cell in group.cells}
    needed = sum(group.together for group in whole)
    used = sum(group.per_image for group in groups_of(batches) if group.cells[0].cell_id in could)
    if len(batches) < 2 and used == needed:
        return None
    cost = f"{used:,} instead of {needed:,} evaluations an image" if used > needed else "no evaluation more"
    limit = f"{spool_limit() / GIB:g} GiB of waiting images ({SPOOL_VARIABLE})"
    return f"limit: drawn in {counted(len(batches), 'wave')} of at most {limit}: {cost}"
