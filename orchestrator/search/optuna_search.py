"""Optuna over the grid's own discrete points: which of them are worth running."""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch

from orchestrator.errors import UsageError
from orchestrator.execution.run_units import Job, fit
from orchestrator.execution.sample_worker import measure_cell
from orchestrator.execution.train_worker import train_trial
from orchestrator.execution.unit import Unit
from orchestrator.execution.unit_queue import SearchedUnits
from orchestrator.grid import Sweep, points_for, search_dimensions
from orchestrator.planning.plan import Cell, make_plan
from orchestrator.search.proposals import Proposals
from orchestrator.storage.store import Folder, Store


def run_search(sweep: Sweep, job: Job, folder: Folder) -> None:
    """Let Optuna propose points through Ray Tune until the grid's number of trials is reached.

    A proposal is worth its first cell's metric: the first sampler of the panel, the first seeds. Finished
    cells are read, so a search that goes on after a stop replays what it knows at once and then proposes new
    points.
    """
    settings = sweep.grid.search
    assert settings is not None, "run_search needs a grid with search"
    proposals = Proposals(sweep, folder)
    earlier = proposals.tried()
    remaining = settings.num_trials - len(earlier)
    if remaining <= 0:
        return

    def to_unit(proposal: dict[str, Any]) -> Unit:
        proposals.add(proposal)
        return first_unit(proposals, proposal, job)

    values = [objective_value(proposals, proposal, job.store, settings.metric) for proposal in earlier]
    known = [(proposal, value) for proposal, value in zip(earlier, values, strict=True) if value is not None]
    inner = OptunaSearch(
        space=option_numbers(sweep),
        metric=settings.metric,
        mode=settings.mode,
        sampler=optuna_sampler(settings.sampler, settings.seed),
        points_to_evaluate=[proposal for proposal, _ in known] or None,
        evaluated_rewards=[value for _, value in known] or None,
    )
    trained = (
        {unit.train_id for unit in make_plan(sweep, proposals.points(), job.store).trainings}
        if earlier
        else set()
    )
    search = SearchedUnits(inner, to_unit, trained, trial_settings(job), job.draining)
    fit(tune.with_resources(search_trial, {"memory": 1}), search, remaining, job.trainings_at_once(), job)


def option_numbers(sweep: Sweep) -> dict[str, Any]:
    """Optuna's view of the space: for each dimension, the number of an option."""
    from optuna.distributions import CategoricalDistribution

    return {name: CategoricalDistribution(range(len(options))) for name, options in search_dimensions(sweep)}


def optuna_sampler(name: str, seed: int, batched: bool = False) -> Any:
    """Optuna's tree-structured Parzen estimator or random sampler; `batched` keeps a batch's proposals
    apart."""
    import optuna

    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=batched)
    return optuna.samplers.RandomSampler(seed=seed)


def first_cell(proposals: Proposals, proposal: Mapping[str, int], store: Store) -> Cell:
    """The cell whose metric a proposal is worth."""
    points = points_for(proposals.sweep, proposals.overrides(proposal))
    return make_plan(proposals.sweep, points[:1], store).cells[0]


def first_unit(proposals: Proposals, proposal: Mapping[str, int], job: Job) -> Unit:
    """The same as a unit of work."""
    threads = max(1, int(job.resources.cpus_per_worker))
    return Unit.of_cell(first_cell(proposals, proposal, job.store), job.store.uri, job.data_root, threads)


def objective_value(
    proposals: Proposals, proposal: Mapping[str, int], store: Store, metric: str
) -> float | None:
    """A proposal's metric, if its cell is finished. Raises UsageError when the cell has no such metric."""
    record = store.cell(first_cell(proposals, proposal, store).cell_id).read_json("cell.json")
    if record is None:
        return None
    if metric not in record["metrics"]:
        raise UsageError(
            f"search.metric: cells have no {metric}, only {', '.join(sorted(record['metrics']))}"
        )
    return float(record["metrics"][metric])


def trial_settings(job: Job) -> dict[str, Any]:
    """What a search trial needs besides its unit."""
    return {"resources": job.resources.model_dump(), "scratch": f"{job.scratch}/train"}


def search_trial(config: dict[str, Any]) -> None:
    """Body of a search trial: train when the training is missing, then measure the cell."""
    unit = Unit.from_json(config["unit"])
    folder = Store.open(unit.storage).training(unit.train_id)
    if not folder.exists(f"selections/{unit.selection_id}.json"):
        train_trial(config)
    tune.report({"state": "done", **measure_cell(unit)})
