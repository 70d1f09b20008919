"""What ran: the facts another laboratory needs, and the sums that show nothing was dropped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.document.checks import Check, checks
from reports.formatting import counted, describe, listed, scaled, value_text, without_credentials
from reports.read.overview import Overview
from reports.tables.table import Column, Table, frame_of

UNKNOWN = "not recorded"
MAX_LISTED = 20
"""Entries of a long list that a document shows."""


@dataclass(frozen=True)
class Facts:
    """A titled list of terms and values."""

    title: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class WhatRan:
    """The "What ran" part of a report."""

    command: str
    facts: tuple[Facts, ...]
    checks: tuple[Check, ...]
    trainings: Table | None
    failures: tuple[tuple[str, str], ...]
    collapsed: tuple[tuple[str, str], ...]
    """(cell id, why and for which points), at most MAX_LISTED of them."""
    collapsed_total: int


def what_ran(overview: Overview) -> WhatRan:
    """Collect it from the manifest and the results."""
    manifest = overview.sweep.manifest
    collapsed = manifest.get("collapsed") or []
    return WhatRan(
        command=without_credentials(_known(manifest.get("command"))),
        facts=(
            _sweep(overview),
            _networks(manifest),
            _protocol(overview),
            _data(manifest),
            _code(manifest),
            _machine(manifest),
        ),
        checks=tuple(checks(overview)),
        trainings=_trainings(overview),
        failures=tuple(_failure(one) for one in manifest.get("failures") or []),
        collapsed=tuple((str(group["cell_id"]), _collapse(group)) for group in collapsed[:MAX_LISTED]),
        collapsed_total=len(collapsed),
    )


def _known(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_nested(part)}" for key, part in value.items())
    return ", ".join(map(_known, value)) if isinstance(value, list) else str(value)


def _nested(value: Any) -> str:
    return f"({_known(value)})" if isinstance(value, Mapping) else _known(value)


def _facts(title: str, found: Mapping[str, Any]) -> Facts:
    return Facts(title, tuple((term, _known(value)) for term, value in found.items()))


def _sweep(overview: Overview) -> Facts:
    manifest = overview.sweep.manifest
    counts = manifest.get("counts") or {}
    names = {
        "grid points": ("points",),
        "distinct cells": ("cells", "cached_cells", "run_cells"),
        "trainings": ("trainings", "cached_trainings", "run_trainings"),
    }
    amounts = {term: _amount(*(counts.get(field) for field in fields)) for term, fields in names.items()}
    head = {
        "recipe": manifest.get("recipe"),
        "varies": manifest.get("varies"),
        "created": manifest.get("created"),
    }
    return _facts("Sweep", {**head, **amounts, "failed units": counts.get("failed")})


def _amount(total: Any, cached: Any = None, run: Any = None) -> str | None:
    if total is None or cached is None or run is None:
        return None if total is None else f"{total:,}"
    return f"{total:,}: {run:,} run now, {cached:,} already in the store"


def _protocol(overview: Overview) -> Facts:
    row = overview.sweep.results.iloc[0]
    protocol = overview.sweep.manifest.get("protocol") or {}
    seeds = sorted(map(int, overview.sweep.results["sample_seed"].unique()))
    weights = sorted({str(value) for value in overview.sweep.results["weights"].dropna().unique()})
    return _facts(
        "Evaluation protocol",
        {
            "id": row["protocol_id"],
            "distance": overview.distance,
            "features": row["extractor"],
            "features sha256": row["extractor_sha256"],
            "reference": row["reference_id"],
            "images per cell": f"{int(row['num_samples']):,}",
            "batch shape": protocol.get("batch_size"),
            "sampling seed" if len(seeds) == 1 else "sampling seeds": listed([str(seed) for seed in seeds]),
            "weights": ", ".join(weights),
            "snapshot chosen by": protocol.get("selection"),
        },
    )


def _networks(manifest: Mapping[str, Any]) -> Facts:
    """Which networks ran, under their published names where they have one, and why they are read as they
    are."""
    found = manifest.get("networks") or []
    rest = [("and", f"{counted(len(found) - MAX_LISTED, 'more network')}")] if len(found) > MAX_LISTED else []
    items = [(one["name"] or f"custom {one['model']['kind']}", _network(one)) for one in found[:MAX_LISTED]]
    return Facts("Network", (*items, *rest) or (("name", UNKNOWN),))


def _network(one: Mapping[str, Any]) -> str:
    knobs = {field: value for field, value in one["model"].items() if field != "kind"}
    size = f"{scaled(one['num_params'])} parameters, {scaled(one['macs'])} MACs"
    source = f" [{one['source']}]" if one["source"] else ""
    settings = ", ".join(f"{field} {value_text(value)}" for field, value in knobs.items())
    levels = len(knobs.get("channel_mult", ()))
    reading = one["note"] or (counted(levels, "level") if levels else "")
    return ". ".join(part.rstrip(".") for part in (size + source, reading, settings) if part) + "."


def _data(manifest: Mapping[str, Any]) -> Facts:
    data = manifest.get("data") or {}
    return _facts(
        "Data", {"name": data.get("name"), "images": data.get("num_images"), "sha256": data.get("sha256")}
    )


def _code(manifest: Mapping[str, Any]) -> Facts:
    code = manifest.get("code") or {}
    dirty = code.get("dirty")
    state = None if dirty is None else "yes: the commit alone does not give this code" if dirty else "no"
    return _facts(
        "Code",
        {
            "commit": code.get("commit"),
            "uncommitted changes": state,
            "tree sha256": code.get("tree_sha256"),
            "orch": code.get("orch_version"),
            "engine": code.get("engine_version"),
        },
    )


def _machine(manifest: Mapping[str, Any]) -> Facts:
    found = dict(manifest.get("environment") or {})
    packages = found.pop("packages", None) or {}
    names = ("python", "platform", "cpu", "cpu_count", "gpu", "threads")
    versions = " · ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    devices = sorted({str(one["device"]) for one in manifest.get("trainings") or [] if one.get("device")})
    known = {name.replace("_", " "): found.get(name) for name in names}
    known["gpu"] = known["gpu"] or ("none" if known["cpu"] else None)
    return _facts("Machine", {**known, "trained on": ", ".join(devices), "packages": versions})


def _failure(one: Mapping[str, Any]) -> tuple[str, str]:
    return str(one["unit"]), without_credentials(str(one["message"]))


def _trainings(overview: Overview) -> Table | None:
    rows = [_training(one) for one in overview.sweep.manifest.get("trainings") or []]
    if not rows:
        return None
    columns = (
        Column("training", "training", note="train_id"),
        Column("seed", "seed"),
        Column("device", "device"),
        Column("hours", "hours", "number"),
        Column("images_per_second", "train img / s", "integer"),
        Column("num_params", "parameters", "scaled"),
        Column("macs", "MACs", "scaled"),
        Column("snapshot_kimg", "best kimg", "integer"),
        Column("runner_up_kimg", "runner-up", "integer"),
        Column("selection_metric", "chosen by"),
    )
    caption = "The reported snapshot has the lowest distance under the selection sampler; the runner-up comes second."
    return Table("trainings", "Trainings", caption, frame_of(rows), columns)


def _training(one: Mapping[str, Any]) -> dict[str, Any]:
    numbers = ("images_per_second", "num_params", "macs", "snapshot_kimg", "runner_up_kimg")
    seconds = one.get("seconds")
    axes = {field: value for field, value in (one.get("axes") or {}).items() if field != "train.seed"}
    return {
        "training": describe(axes) or "recipe as it is",
        "seed": _known(one.get("seed")),
        "device": _known(one.get("device")),
        "hours": None if seconds is None else seconds / 3600,
        **{name: one.get(name) for name in numbers},
        "selection_metric": _known(one.get("selection_metric")),
        "train_id": str(one["train_id"]),
    }


def _collapse(group: Mapping[str, Any]) -> str:
    points = group.get("points") or []
    shown = "; ".join(describe(point) for point in points[:2])
    more = f"; and {len(points) - 2:,} more" if len(points) > 2 else ""
    return f"{group.get('reason') or UNKNOWN} ({counted(len(points), 'point')}: {shown}{more})"
