"""Which unit Ray Tune runs next: those that a search algorithm proposes."""

from collections.abc import Callable

from ray.tune.search import Searcher

from orchestrator.execution.draining import Draining
from orchestrator.execution.ray_values import RayValues
from orchestrator.planning.unit import Unit


class SearchedUnits(Searcher):
    """Hands a search algorithm's proposals on as units.

    A proposal whose training is under way waits for it, so that no model is trained twice at the same time.
    """

    def __init__(
        self,
        inner: Searcher,
        to_unit: Callable[[dict[str, int]], Unit],
        trained: set[str],
        settings: RayValues,
        draining: Draining,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.to_unit = to_unit
        self.settings = settings
        self.draining = draining
        self.trained = set(trained)
        self.held: Unit | None = None
        """A proposal that waits for its training, which another trial is at."""
        self.held_proposal = ""
        """The search algorithm's name for it."""
        self.running: dict[str, tuple[str, str]] = {}
        """Trial -> (the search algorithm's own name for it, the training it needs)."""

    def __getstate__(self) -> RayValues:
        """Tune pickles its searcher for a restore that never happens here."""
        return {}

    def suggest(self, trial_id: str) -> RayValues | str | None:
        """Configuration of the next trial, None to ask again later, or FINISHED."""
        if self.draining.requested:
            return str(Searcher.FINISHED)
        if self.held is None:
            proposal = self.inner.suggest(trial_id)
            if not isinstance(proposal, dict):
                return None if proposal is None else str(proposal)
            self.held = self.to_unit(proposal)
            self.held_proposal = trial_id
        # A proposal cannot be given back to Optuna, so one that must wait is held, and no other is asked for.
        needed = self.held.train_id
        under_way = any(training == needed for _, training in self.running.values())
        if needed not in self.trained and under_way:
            return None
        unit = self.held
        self.held = None
        self.running[trial_id] = (self.held_proposal, unit.train_id)
        return {"unit": unit.to_json(), **self.settings}

    def on_trial_complete(self, trial_id: str, result: RayValues | None = None, error: bool = False) -> None:
        """Tell the search algorithm what its proposal was worth."""
        proposal, training = self.running.pop(trial_id)
        if not error:
            self.trained.add(training)
        self.inner.on_trial_complete(proposal, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: finished proposals are replayed from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to load."""
