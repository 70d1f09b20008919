"""What a plan says of common passes: what they save, and in how many waves they are drawn."""

from collections.abc import Iterable

from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup, prefix_groups
from orchestrator.planning.spool_batches import GIB, SPOOL_VARIABLE, SpoolBatch, spool_batches, spool_limit
from reports.formatting import counted


def sharing_lines(cells: Iterable[Cell]) -> list[str]:
    """Lines on what is saved by doing once what samplers of the same weights do alike; none where nothing
    is."""
    cells = list(cells)
    drawn = spool_batches(cells)
    shared = [group for wave in drawn for group in wave if group.shares]
    lines = [saved_words(shared)] if shared else []
    limit = limit_words([group for group in prefix_groups(cells) if group.shares], drawn)
    return [*lines, limit] if limit else lines


def saved_words(shared: list[PrefixGroup]) -> str:
    """What groups that are drawn together save."""
    alone, together = (sum(getattr(group, name) for group in shared) for name in ("alone", "together"))
    cells = [cell for group in shared for cell in group.cells]
    naive = sum(len(cell.points) * cell.experiment.sample.nfe for cell in cells)
    words = (
        f"shared: {len(cells):,} cells are drawn in common passes, {together:,} network evaluations per image "
        f"instead of {alone:,} ({alone / together:.1f}x fewer)"
    )
    if naive > alone:
        words += f"; one by one, their points would take {naive:,} ({naive / together:.1f}x)"
    return words


def limit_words(whole: list[PrefixGroup], drawn: list[SpoolBatch]) -> str | None:
    """What the limit on waiting images costs groups that could be drawn whole; None where it cuts nothing."""
    could = {cell.cell_id for group in whole for cell in group.cells}
    needed = sum(group.together for group in whole)
    used = sum(group.per_image for wave in drawn for group in wave if group.cells[0].cell_id in could)
    if len(drawn) < 2 and used == needed:
        return None
    cost = f"{used:,} instead of {needed:,} evaluations an image" if used > needed else "no evaluation more"
    limit = f"{spool_limit() / GIB:g} GiB of waiting images ({SPOOL_VARIABLE})"
    return f"limit: drawn in {counted(len(drawn), 'wave')} of at most {limit}: {cost}"
