"""Whether MLflow equals the store, and making it so at once."""

from pathlib import Path

from engine.records import paths
from engine.records.mirrored import Mirrored
from orchestrator.planning.plan import Plan
from orchestrator.storage.store import Folder, Store


def mirror_now(plan: Plan, store: Store) -> None:
    """Mirror a sweep's end state at once."""
    from orchestrator.tracking.mirror import Mirror

    mirror = Mirror(plan, store)
    mirror.open()
    mirror.close("FAILED" if plan.missing_cells else "FINISHED")


def remember_mirrored(plan: Plan, folder: Folder) -> None:
    """Write down that MLflow holds the finished cells of this plan."""
    folder.write_record(paths.MIRRORED, _mark(plan))


def mirror_is_current(plan: Plan, store: Store, folder: Folder) -> bool:
    """Whether the last mirroring saw these cells and its database is still there."""
    from orchestrator.tracking.connection import tracking_uri

    uri = tracking_uri(store)
    gone = uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
    return not gone and folder.read_record(paths.MIRRORED, Mirrored) == _mark(plan)


def _mark(plan: Plan) -> Mirrored:
    return Mirrored(cells=tuple(sorted(cell.cell_id for cell in plan.finished_cells)))
