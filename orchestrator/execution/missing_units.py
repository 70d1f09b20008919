"""Which unit Ray Tune runs next: the missing ones, in order."""

from collections import deque
from collections.abc import Iterable

from ray.tune.search import Searcher

from orchestrator.execution.draining import Draining
from orchestrator.execution.ray_values import RayValues
from orchestrator.planning.unit import Unit


class MissingUnits(Searcher):
    """Enumerates a fixed list of units; ends early when draining.

    Cells wait for the shared runs before them, which sample their images, and shared runs for the cells
    before them, whose images are then deleted: so no two spool batches lie on the disk at once.
    """

    def __init__(self, units: Iterable[Unit], settings: RayValues, draining: Draining) -> None:
        super().__init__()
        self.left = deque(units)
        self.settings = settings
        self.draining = draining
        self.running: dict[str, str] = {}
        """Trial -> the kind of its unit."""

    def suggest(self, trial_id: str) -> RayValues | str | None:
        """Configuration of the next trial, None to ask again later, or FINISHED."""
        if self.draining.requested or not self.left:
            return str(Searcher.FINISHED)
        # Shared runs fill the disk with images and cells empty it, so neither
        # begins before the other is over. None makes Tune ask again later.
        kind = self.left[0].kind
        another_kind_runs = any(running != kind for running in self.running.values())
        if another_kind_runs:
            return None
        self.running[trial_id] = kind
        return {"unit": self.left.popleft().to_json(), **self.settings}

    def on_trial_complete(self, trial_id: str, result: RayValues | None = None, error: bool = False) -> None:
        """A unit that has ended, well or not, is waited for no longer."""
        self.running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: what is finished is in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to load."""
