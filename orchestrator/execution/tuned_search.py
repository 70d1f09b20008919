"""Optuna's proposals through Ray Tune, one trial each: a training that is missing is trained first."""

from ray import tune
from ray.tune.search.optuna import OptunaSearch

from engine.records import paths
from orchestrator.execution.job import Job
from orchestrator.execution.ray_values import RayValues
from orchestrator.execution.sample_worker import measure_cell
from orchestrator.execution.searched_units import SearchedUnits
from orchestrator.execution.train_worker import train_trial
from orchestrator.execution.tuner import fit
from orchestrator.grid import Sweep
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.unit import Unit
from orchestrator.search.objective import first_cell, value_of_first_cell
from orchestrator.search.optuna_space import option_numbers, optuna_sampler
from orchestrator.search.proposals import Proposals
from orchestrator.storage.store import Folder, Store


def run_tuned_search(sweep: Sweep, job: Job, folder: Folder) -> None:
    """Let Optuna propose points through Ray Tune until the grid's number of trials is reached.

    A proposal is worth its first cell's metric: the first sampler of the
    panel, the first seeds. Finished cells are read, so a search that goes on
    after a stop replays what it knows at once and then proposes new points.
    """
    settings = sweep.grid.search
    assert settings is not None, "run_tuned_search needs a grid with search"
    proposals = Proposals(sweep, folder)
    earlier = proposals.tried()
    remaining = settings.num_trials - len(earlier)
    if remaining <= 0:
        return

    def to_unit(proposal: dict[str, int]) -> Unit:
        proposals.add(proposal)  # before it runs, so that a search stopped in its midst knows of it
        return job.unit_of_cell(first_cell(sweep, proposals.points_of(proposal)))

    known: list[tuple[dict[str, int], float]] = []
    for proposal in earlier:
        value = value_of_first_cell(sweep, proposals.points_of(proposal), settings.metric, job.store)
        if value is not None:
            known.append((proposal, value))
    inner = OptunaSearch(
        space=option_numbers(sweep),
        metric=settings.metric,
        mode=settings.mode,
        sampler=optuna_sampler(settings),
        points_to_evaluate=[proposal for proposal, _ in known] or None,
        evaluated_rewards=[value for _, value in known] or None,
    )
    trained = {unit.train_id for unit in make_plan(sweep, proposals.points()).trainings}
    search = SearchedUnits(inner, to_unit, trained, job.train_settings(), job.draining)
    fit(tune.with_resources(search_trial, {"memory": 1}), search, remaining, job.trainings_at_once(), job)


def search_trial(config: RayValues) -> None:
    """Body of a search trial: train when the training is missing, then measure the cell."""
    unit = Unit.from_json(config["unit"])
    folder = Store.open(unit.storage).training(unit.train_id)
    if not folder.exists(paths.selection(unit.selection_id)):
        train_trial(config)
    tune.report({"state": "done", **measure_cell(unit)})
