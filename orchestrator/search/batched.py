"""Optuna over the samplers of one model: proposals come in batches, and a common pass draws what they do
alike."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.grid import Point, Sweep, points_for, search_dimensions
from orchestrator.search.optuna_search import objective_value, option_numbers, optuna_sampler
from orchestrator.search.proposals import Proposals
from orchestrator.storage.store import Folder, Store

BATCH = 16
"""Proposals at a time: the more, the more they share, and the less each knows of the others' results."""

Run = Callable[[tuple[Point, ...]], None]
"""Runs what is missing of some points."""


def varies_samplers_alone(sweep: Sweep) -> bool:
    """Whether every field that is searched belongs to the sampler: no proposal then has to be trained
    first."""
    return all(
        field.startswith("sample.") for _, options in search_dimensions(sweep) for o in options for field in o
    )


def run_batches(sweep: Sweep, store: Store, folder: Folder, run: Run) -> None:
    """Propose, run and learn until the grid's number of trials is reached.

    A proposal is worth its first cell's metric. It is written down before it runs, so a search that goes on
    after a stop finishes what it proposed, tells Optuna all it knows, and then proposes new points.
    """
    import optuna

    settings, proposals = sweep.grid.search, Proposals(sweep, folder)
    assert settings is not None, "run_batches needs a grid with search"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if settings.mode == "min" else "maximize"
    sampler = optuna_sampler(settings.sampler, settings.seed + len(proposals.tried()), batched=True)
    study = optuna.create_study(sampler=sampler, direction=direction)
    space = option_numbers(sweep)

    def run_all(batch: list[dict[str, int]]) -> list[float | None]:
        run(tuple(point for one in batch for point in points_for(sweep, proposals.overrides(one))))
        return [objective_value(proposals, one, store, settings.metric) for one in batch]

    earlier = proposals.tried()
    for proposal, value in zip(earlier, run_all(earlier) if earlier else (), strict=True):
        study.add_trial(finished_trial(proposal, value, space))
    while (remaining := settings.num_trials - len(proposals.tried())) > 0:
        trials = [study.ask(space) for _ in range(min(BATCH, remaining))]
        batch = [dict(trial.params) for trial in trials]
        for proposal in batch:
            proposals.add(proposal)
        for trial, value in zip(trials, run_all(batch), strict=True):
            study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)


def finished_trial(proposal: Mapping[str, int], value: float | None, space: Mapping[str, Any]) -> Any:
    """An earlier proposal as Optuna keeps it; one without a value has failed."""
    from optuna.trial import TrialState, create_trial

    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return create_trial(params=dict(proposal), distributions=dict(space), value=value, state=state)
