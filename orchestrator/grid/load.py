"""A grid file, read and checked: every problem in it is told at once."""

from pathlib import Path

from engine.config.experiment import Experiment
from engine.metrics.names import distance_name
from engine.metrics.registry import measured_metrics, metric_facts
from engine.records.metric_facts import is_distance
from orchestrator.errors import GridError
from orchestrator.grid.bind import bind
from orchestrator.grid.check import grid_faults
from orchestrator.grid.file import Grid, Resources
from orchestrator.grid.levels import kinds_in
from orchestrator.grid.points import swept_fields
from orchestrator.grid.recipe import load_anchor
from orchestrator.grid.sweep import Sweep
from orchestrator.grid.yaml_source import Fault, did_you_mean, read_document


def load_sweep(path: Path, *, smoke: bool = False) -> Sweep:
    """Read and check a grid file. Raises GridError with every problem found.

    `smoke` shrinks the recipe to minutes and asks for one CPU core instead of the grid's resources.
    """
    document = read_document(path)
    grid, found = bind(document.data)
    reported = {fault.path for fault in found}
    problems = [document.problem(fault) for fault in found]
    anchor: Experiment | None = None
    try:
        if ("recipe",) not in reported:
            anchor = load_anchor(grid, document, path.parent, smoke)
    except GridError as error:
        problems += error.problems
    found = [fault for fault in grid_faults(grid, kinds_in(grid, anchor)) if fault.path not in reported]
    if anchor:
        found += _search_faults(grid, anchor, smoke)
    problems += [document.problem(fault) for fault in found]
    if problems or anchor is None:
        raise GridError(problems)
    if smoke:
        grid = _small(grid, anchor)
    return Sweep(grid, anchor, path, smoke, document)


def _search_faults(grid: Grid, anchor: Experiment, smoke: bool) -> list[Fault]:
    """What is wrong with a search of this recipe."""
    found: list[Fault] = []
    if grid.search and anchor.start:
        message = (
            "a search does not train what its points start from, and the recipe has a `start`; use axes alone"
        )
        found.append(Fault(("search",), message, about_key=True))
    wrong_metric = _metric_fault(grid, anchor, smoke)
    if wrong_metric:
        found.append(wrong_metric)
    return found


def _metric_fault(grid: Grid, anchor: Experiment, smoke: bool) -> Fault | None:
    """What is wrong with a search's metric: cells will not have it. A smoke run searches for its own."""
    own = distance_name(anchor.eval.extractor, anchor.eval.num_samples)
    if smoke or not grid.search or grid.search.metric == own:
        return None
    if not is_distance(grid.search.metric):
        return _unmeasured_fault(grid, anchor, grid.search.metric)
    images = f"{anchor.eval.num_samples:,} images under extractor {anchor.eval.extractor}"
    return Fault(("search", "metric"), f"{grid.search.metric} is not measured: {images} give {own}", (own,))


def _unmeasured_fault(grid: Grid, anchor: Experiment, metric: str) -> Fault | None:
    """What is wrong with a search for a metric, not a distance, that no cell will have."""
    varies_samplers = bool(grid.panel) or any(field.startswith("sample.") for field in swept_fields(grid))
    if varies_samplers and metric_facts([metric])[metric].group:
        return None  # whether a known metric is measured may depend on the sampler of a point
    measured = measured_metrics(anchor)
    if metric in measured:
        return None
    message = f"{metric} is not measured in this sweep"
    return Fault(("search", "metric"), message, measured, did_you_mean(metric, list(measured)))


def _small(grid: Grid, anchor: Experiment) -> Grid:
    """The grid on one CPU core, its search for the distance that a smoke run measures."""
    changes: dict[str, object] = {"resources": Resources()}
    if grid.search and is_distance(grid.search.metric):
        own = distance_name(anchor.eval.extractor, anchor.eval.num_samples)
        changes["search"] = grid.search.model_copy(update={"metric": own})
    return grid.model_copy(update=changes)
