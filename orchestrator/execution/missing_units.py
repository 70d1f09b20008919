"""Which unit Ray Tune runs next: the missing ones, in order."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from ray.tune.search import Searcher

from orchestrator.execution.draining import Draining
from orchestrator.planning.unit import Unit


class MissingUnits(Searcher):
    """Enumerates a fixed list of units; ends early when draining.

    Cells wait for the shared passes before them, which draw their images, and passes for the cells before
    them, whose images are then deleted.
    """

    def __init__(self, units: Iterable[Unit], settings: dict[str, Any], draining: Draining) -> None:
        super().__init__()
        self.waiting = deque(units)
        self.settings, self.draining = settings, draining
        self.running: dict[str, str] = {}
        """Trial -> the kind of its unit."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Configuration of the next trial, None to ask again later, or FINISHED."""
        if self.draining.requested or not self.waiting:
            return str(Searcher.FINISHED)
        kind = self.waiting[0].kind
        if set(self.running.values()) - {kind}:
            return None
        self.running[trial_id] = kind
        return {"unit": self.waiting.popleft().to_json(), **self.settings}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A unit that has ended, well or not, is waited for no longer."""
        self.running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: what is finished is in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to load."""
