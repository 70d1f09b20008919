"""The answer of a sweep in a few sentences: what was best, against what, by how much, how surely."""

import math

from reports.formatting import axis_label, counted, percent, sentence, significant, value_text
from reports.read.axes import is_sampler_field
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.ranking import best_of
from reports.read.stats import RETRAINING_GAP, SEEDS_FOR_T, difference, verdict

MAX_LISTED_VALUES = 6

SAME_SIZE = 1.05
"""Networks within this ratio of parameters are of one size: a second head on the output does not count."""


def title(overview: Overview) -> str:
    """What was swept: "C ∈ {16, 32} × 5 samplers", or the samplers' own parameters when only they vary."""
    trained = [field for field in overview.varied if not is_sampler_field(field)]
    sampled = [field for field in overview.varied if is_sampler_field(field) and field != "sample"]
    fields = trained or sampled
    parts = [_joined(fields, overview)] if fields else []
    if len(overview.samplers) > 1 and (trained or not sampled):
        parts.append(counted(len(overview.samplers), "sampler"))
    return " × ".join(parts) or f"{overview.trainings[0]}, {overview.samplers[0]}"


def answer(overview: Overview) -> tuple[str, ...]:
    """The sentences under the title."""
    if overview.best is None:
        return (f"No cell has a finite {overview.distance}: every one of them failed or diverged.",)
    if len(overview.configurations) == 1:
        sets = f", the mean of {overview.samplings} sets of images" if overview.samplings > 1 else ""
        return (
            f"The one configuration reaches {_value(overview, overview.best)}{sets}.",
            *_caveats(overview),
        )
    sentences = []
    if len(overview.trainings) > 1:
        sentences += _among_trainings(overview)
    if len(overview.samplers) > 1:
        sentences += _among_samplers(overview, overview.best)
    return (*sentences, *_caveats(overview))


def _joined(fields: list[str], overview: Overview) -> str:
    """The axes with a product sign, or commas when the grid has too few points for all combinations."""
    combinations = math.prod(len(overview.varied[field]) for field in fields)
    points = overview.sweep.manifest.counts.points or combinations
    return (" × " if points >= combinations else ", ").join(_axis_text(field, overview) for field in fields)


def _axis_text(field: str, overview: Overview) -> str:
    values = overview.varied[field]
    if len(values) <= MAX_LISTED_VALUES:
        return f"{axis_label(field)} ∈ {{{', '.join(value_text(value) for value in values)}}}"
    if all(isinstance(value, int | float) for value in values):
        return (
            f"{axis_label(field)} ∈ [{value_text(values[0])}, {value_text(values[-1])}], {len(values)} values"
        )
    return f"{axis_label(field)}, {len(values)} values"


def _value(overview: Overview, one: Configuration) -> str:
    return f"{overview.distance} {significant(one.mean(overview.distance))}"


def _name(overview: Overview, one: Configuration) -> str:
    return f"{one.training} under {one.sampler_label}" if len(overview.trainings) > 1 else one.sampler_label


def _among_trainings(overview: Overview) -> list[str]:
    """Best training at the reference sampler, against the smallest network, else the runner-up."""
    field = list(overview.at_reference.values())
    winner = best_of(field, overview.distance)
    rivals = [one for one in field if one is not winner]
    if winner is None or not rivals:
        return []
    smallest = min(field, key=lambda one: one.num_params or math.inf)
    largest = max(one.num_params or 0 for one in field)
    sizes_differ = largest > SAME_SIZE * (smallest.num_params or math.inf)
    rival = best_of(rivals, overview.distance)
    role = "the runner-up"
    if sizes_differ and smallest is not winner and math.isfinite(smallest.mean(overview.distance)):
        rival = smallest
        role = "the smallest"
    if rival is None:
        return [f"Only {winner.training} has a finite {overview.distance} at {overview.reference_sampler}."]
    return [
        f"At {overview.reference_sampler}, {winner.training} is best with {_value(overview, winner)}: "
        f"{_gap(overview, winner, rival)} {rival.training}, {role}.",
        *_doubt(overview, winner, rival),
    ]


def _among_samplers(overview: Overview, best: Configuration) -> list[str]:
    """Best of all configurations, against the deterministic sampler of its cost unless it is that one."""
    count = counted(len(overview.configurations), "configuration")
    if len(overview.trainings) > 1 and best is best_of(
        list(overview.at_reference.values()), overview.distance
    ):
        return [f"It is also the lowest of all {count}.", *_closest_with_noise(overview, best)]
    lead = (
        f"The lowest of all {count} is {_name(overview, best)}, "
        f"with {_value(overview, best)} at {best.nfe} NFE"
    )
    if best.deterministic:
        return [f"{lead}.", *_closest_with_noise(overview, best)]
    baseline = overview.baseline(best)
    if baseline is None or not math.isfinite(baseline.mean(overview.distance)):
        return [f"{lead}; there is no deterministic sampler of the same cost to hold it against."]
    gap = f"{_gap(overview, best, baseline)} {baseline.sampler_label}, deterministic at the same cost"
    return [f"{lead}: {gap}.", *_doubt(overview, best, baseline)]


def _closest_with_noise(overview: Overview, best: Configuration) -> list[str]:
    """How close the best stochastic configuration comes to a deterministic winner."""
    rival = best_of([one for one in overview.configurations if not one.deterministic], overview.distance)
    if rival is None:
        return []
    excess = percent(rival.mean(overview.distance) / best.mean(overview.distance) - 1)
    return [
        f"No sampler that adds noise did better: the closest, {_name(overview, rival)}, is {excess} higher."
    ]


def _gap(overview: Overview, one: Configuration, other: Configuration) -> str:
    base = other.mean(overview.distance)
    gap = other.mean(overview.distance) - one.mean(overview.distance)
    return f"{significant(gap)} ({percent(gap / base) if base else '—'}) below the {significant(base)} of"


def _doubt(overview: Overview, one: Configuration, other: Configuration) -> list[str]:
    """What the seeds say about a gap; nothing when there are too few of them, which `_caveats` says once."""
    found = verdict(one.metrics[overview.distance], other.metrics[overview.distance])
    if found == "too close":
        near = f"training again moves a distance by about {percent(RETRAINING_GAP)}"
        return [f"A difference this small may be sampling noise: {near}."]
    gap = difference(other.metrics[overview.distance], one.metrics[overview.distance])
    if found == "unreplicated" or gap is None:
        return []
    ends = f"[{significant(gap.low)}, {significant(gap.high)}]"
    interval = f"the 95% interval of that gap over {gap.seeds} training seeds, {ends},"
    return [
        f"Inconclusive: {interval} includes 0." if found == "overlap" else sentence(f"{interval} excludes 0")
    ]


def _caveats(overview: Overview) -> list[str]:
    fewest, _ = overview.seeds
    if fewest >= SEEDS_FOR_T:
        return []
    seeds = "One training seed" if fewest == 1 else f"Only {fewest} training seeds"
    return [f"{seeds}: how far a repeat would land is unknown, so small differences may be noise."]
