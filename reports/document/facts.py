"""Facts of a sweep in words, in groups; what is not recorded is said to be so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from engine.records.manifest import Code, Manifest, NetworkFacts
from engine.records.metric_facts import MetricFacts
from engine.records.units import DataSeen
from reports.formatting import counted, listed, scaled, value_text
from reports.read.overview import Overview

UNKNOWN = "not recorded"
MAX_LISTED = 20
"""Entries of a long list that a document shows."""


@dataclass(frozen=True)
class Facts:
    """A titled list of terms and values."""

    title: str
    items: tuple[tuple[str, str], ...]


def known(value: object) -> str:
    """A value in words; objects as "name value" pairs, nested ones in brackets."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_nested(part)}" for key, part in value.items())
    return ", ".join(map(known, value)) if isinstance(value, list) else str(value)


def _nested(value: object) -> str:
    return f"({known(value)})" if isinstance(value, Mapping) else known(value)


def facts(title: str, found: Mapping[str, object]) -> Facts:
    """A group of facts from term -> value."""
    return Facts(title, tuple((term, known(value)) for term, value in found.items()))


def of_sweep(manifest: Manifest) -> Facts:
    """What was swept, and how much of it there was to do."""
    counts = manifest.counts
    return facts(
        "Sweep",
        {
            "recipe": manifest.recipe,
            "varies": manifest.varies,
            "created": manifest.created,
            "grid points": None if counts.points is None else f"{counts.points:,}",
            "distinct cells": _amount(counts.cells, counts.cached_cells, counts.run_cells),
            "trainings": _amount(counts.trainings, counts.cached_trainings, counts.run_trainings),
            "failed units": counts.failed,
        },
    )


def _amount(total: int | None, cached: int | None, run: int | None) -> str | None:
    if total is None or cached is None or run is None:
        return None if total is None else f"{total:,}"
    return f"{total:,}: {run:,} run now, {cached:,} already in the store"


def of_networks(networks: Sequence[NetworkFacts]) -> Facts:
    """Which networks ran, under their published names where they have one, and why they are read so."""
    items = [(one.name or f"custom {one.model.get('kind')}", _network(one)) for one in networks[:MAX_LISTED]]
    if len(networks) > MAX_LISTED:
        items.append(("and", counted(len(networks) - MAX_LISTED, "more network")))
    return Facts("Network", tuple(items) or (("name", UNKNOWN),))


def _network(one: NetworkFacts) -> str:
    """Size, source, reading and knobs of a network."""
    knobs = {field: value for field, value in one.model.items() if field != "kind"}
    source = f" [{one.source}]" if one.source else ""
    size = f"{scaled(one.num_params)} parameters, {scaled(one.macs)} MACs{source}"
    settings = ", ".join(f"{field} {value_text(value)}" for field, value in knobs.items())
    parts = (size, one.note or _levels(knobs), settings)
    return ". ".join(part.rstrip(".") for part in parts if part) + "."


def _levels(knobs: Mapping[str, JsonValue]) -> str:
    """How many resolutions a U-Net has; nothing of another network."""
    multipliers = knobs.get("channel_mult")
    return counted(len(multipliers), "level") if isinstance(multipliers, list) and multipliers else ""


def of_protocol(overview: Overview) -> Facts:
    """How cells were measured."""
    row = overview.sweep.results.iloc[0]
    protocol = overview.sweep.manifest.protocol
    seeds = sorted(map(int, overview.sweep.results["sample_seed"].unique()))
    weights = sorted({str(value) for value in overview.sweep.results["weights"].dropna().unique()})
    return facts(
        "Evaluation protocol",
        {
            "id": row["protocol_id"],
            "distance": overview.distance,
            "features": row["extractor"],
            "features sha256": row["extractor_sha256"],
            "reference": row["reference_id"],
            "images per cell": f"{int(row['num_samples']):,}",
            "batch shape": protocol.batch_size,
            "sampling seed" if len(seeds) == 1 else "sampling seeds": listed([str(seed) for seed in seeds]),
            "weights": ", ".join(weights),
            "snapshot chosen by": protocol.selection,
            "noise levels": "; ".join(protocol.noise_levels) or None,
            "metrics": ", ".join(_metric_words(overview.facts(name)) for name in measured(overview)),
            **{f"chosen in {name}": words for name, words in overview.sweep.manifest.choices.items()},
        },
    )


def measured(overview: Overview) -> list[str]:
    """Names of all metrics in the results, in the order of the manifest."""
    names = {str(name) for name in overview.sweep.results["metric"].unique()}
    known = [name for name in overview.sweep.manifest.metrics if name in names]
    return known + sorted(names - set(known))


def _metric_words(one: MetricFacts) -> str:
    """A metric as shown: its arrow and, where neither label nor scale says it, its unit."""
    says_unit = not one.unit or one.unit in one.label or one.scale != 1
    return one.header if says_unit else f"{one.label} ({one.unit}) {one.arrow}".rstrip()


def of_data(data: DataSeen) -> Facts:
    """The data set as the workers saw it."""
    return facts("Data", {"name": data.name, "images": data.num_images, "sha256": data.sha256})


def of_code(code: Code) -> Facts:
    """Which code ran."""
    state = None if code.dirty is None else "no"
    if code.dirty:
        state = "yes: the commit alone does not give this code"
    return facts(
        "Code",
        {
            "commit": code.commit,
            "uncommitted changes": state,
            "tree sha256": code.tree_sha256,
            "orch": code.orch_version,
            "engine": code.engine_version,
        },
    )


def of_machine(manifest: Manifest) -> Facts:
    """What it ran on."""
    machine = manifest.environment
    gpu = machine.gpu or ("none" if machine.cpu else None)  # a machine that is known and has none
    devices = sorted({one.device for one in manifest.trainings if one.device})
    versions = [f"{name} {version}" for name, version in sorted(machine.packages.items())]
    return facts(
        "Machine",
        {
            "python": machine.python,
            "platform": machine.platform,
            "cpu": machine.cpu,
            "cpu count": machine.cpu_count,
            "gpu": gpu,
            "threads": machine.threads,
            "trained on": ", ".join(devices),
            "packages": " · ".join(versions),
        },
    )
