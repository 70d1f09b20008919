"""Optuna over one model's samplers: proposals come in batches, so that a shared run can serve them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator.grid import Point, Search, Sweep, search_dimensions
from orchestrator.search.objective import value_of_first_cell
from orchestrator.search.optuna_space import option_numbers, optuna_sampler
from orchestrator.search.proposals import Proposals
from orchestrator.storage.store import Folder, Store

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import FrozenTrial

BATCH = 16
"""Proposals at a time: the more, the more they share, and the less each knows of the others' results."""

Run = Callable[[tuple[Point, ...]], None]
"""Runs what is missing of some points."""


def varies_samplers_alone(sweep: Sweep) -> bool:
    """Whether all searched fields belong to the sampler: then no proposal needs a training of its own."""
    for _, options in search_dimensions(sweep):
        for option in options:
            if not all(field.startswith("sample.") for field in option):
                return False
    return True


def run_batches(sweep: Sweep, store: Store, folder: Folder, run: Run) -> None:
    """Propose, run and learn until the grid's number of trials is reached.

    A proposal is worth its first cell's metric. It is written down before it runs, so a search that goes on
    after a stop finishes what it proposed, tells Optuna all it knows, and then proposes new points.
    """
    from optuna.trial import TrialState

    settings = sweep.grid.search
    proposals = Proposals(sweep, folder)
    assert settings is not None, "run_batches needs a grid with search"
    space = option_numbers(sweep)

    def values_of(batch: list[dict[str, int]]) -> list[float | None]:
        """Run a batch and read what each proposal is worth; None where its cell has failed."""
        points = [proposals.points_of(proposal) for proposal in batch]
        run(tuple(point for of_one in points for point in of_one))
        return [value_of_first_cell(sweep, of_one, settings.metric, store) for of_one in points]

    earlier = proposals.tried()
    study = _new_study(settings, len(earlier))
    for proposal, value in zip(earlier, values_of(earlier) if earlier else (), strict=True):
        study.add_trial(finished_trial(proposal, value, space))
    remaining = settings.num_trials - len(earlier)
    while remaining > 0:
        trials = [study.ask(dict(space)) for _ in range(min(BATCH, remaining))]
        batch = [dict(trial.params) for trial in trials]
        # All are written down before any runs: a stop in their midst leaves cells of known proposals.
        for proposal in batch:
            proposals.add(proposal)
        for trial, value in zip(trials, values_of(batch), strict=True):
            study.tell(trial, value, state=TrialState.FAIL if value is None else None)
        remaining -= len(trials)


def _new_study(settings: Search, tried: int) -> "Study":
    """Optuna's memory of one run; what earlier runs know is added to it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if settings.mode == "min" else "maximize"
    sampler = optuna_sampler(settings, tried=tried, batched=True)
    return optuna.create_study(sampler=sampler, direction=direction)


def finished_trial(
    proposal: Mapping[str, int], value: float | None, space: "Mapping[str, CategoricalDistribution]"
) -> "FrozenTrial":
    """An earlier proposal as Optuna keeps it; one without a value has failed."""
    from optuna.trial import TrialState, create_trial

    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return create_trial(params=dict(proposal), distributions=dict(space), value=value, state=state)
