"""The metrics there are: one file each in `kinds/`, and those of installed packages."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from engine.conflicts import ConfigConflict
from engine.kinds import Kinds, built_in
from engine.metrics.base import ExperimentView, Metric, ProtocolView
from engine.records.metric_facts import MetricFacts

METRICS: Kinds[Metric] = Kinds(
    "metric", built_in("engine.metrics.kinds", Metric), group="orch.metrics", base=Metric
)


def measured_metrics(experiment: ExperimentView) -> tuple[str, ...]:
    """Names of the numbers that a cell of this experiment gets, in the order of its results."""
    return tuple(name for kind in METRICS.values() for name in kind.measured_in(experiment))


def metric_facts(names: Iterable[str]) -> dict[str, MetricFacts]:
    """What is known of metrics by their names; of an unknown one, its name alone and no better end."""
    found = {}
    for name in names:
        known = (kind.facts_of(name) for kind in METRICS.values())
        found[name] = next((facts for facts in known if facts), MetricFacts(name, name, "neither"))
    return found


def metric_conflicts(protocol: ProtocolView, num_real: int) -> Iterator[ConfigConflict]:
    """What a protocol lacks for the metrics that it asks for by name, on a data set of `num_real` images."""
    for name in protocol.metrics:
        yield from METRICS[name].needs(protocol, num_real)


def measurable(protocol: ProtocolView, num_real: int) -> tuple[str, ...]:
    """Of the metrics that a protocol asks for by name, those for which it lacks nothing."""
    return tuple(name for name in protocol.metrics if not any(METRICS[name].needs(protocol, num_real)))


def check_requested(names: tuple[str, ...]) -> None:
    """Raise ValueError for a metric that `eval.metrics` cannot ask for, or asks for twice."""
    on_request = [name for name, kind in METRICS.items() if kind.on_request]
    for name in names:
        if name in METRICS and name not in on_request:
            raise ValueError(f"{name} is not asked for here: it is always measured, or by a field of its own")
        if name not in METRICS:
            yields = [kind for kind in on_request if METRICS[kind].facts_of(name)]
            near = yields or get_close_matches(name, on_request, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            offered = ", ".join(on_request) or "none, until a file or an installed package adds one"
            raise ValueError(f'"{name}" is not a metric to ask for; there are: {offered}{hint}')
        if names.count(name) > 1:
            raise ValueError(f"{name} is asked for twice")
