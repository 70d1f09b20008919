"""Explain one unit: its state, the points behind it, and how it differs from the nearest finished one."""

from typing import Any

from rich.console import Console

from orchestrator.console.status_view import PlannedUnit, planned_sweeps, planned_units
from orchestrator.errors import UsageError
from orchestrator.planning.cell import MEASURED_SECTIONS
from orchestrator.planning.training import TRAINED_SECTIONS, describe
from orchestrator.storage.store import DONE, Store


def explain(store: Store, prefix: str, console: Console) -> None:
    """Print the explanation of the one unit whose identity begins with `prefix`; UsageError when none or
    several do."""
    matches = find_units(store, prefix)
    if not matches:
        raise UsageError(
            f"no unit of any sweep in {store.shown} begins with {prefix!r}; see orch status SWEEP"
        )
    identities = sorted({unit.folder.rsplit("/", 1)[1] for unit, _ in matches})
    if len(identities) > 1:
        raise UsageError(f"{prefix!r} fits {len(identities)} units: {', '.join(identities[:5])}")
    unit, sweep = matches[0]
    console.print(f"{unit.folder} of sweep {sweep}: {unit.entry['label']}", highlight=False, markup=False)
    for line in (
        *state_lines(store, unit),
        *collapse_lines(unit.entry),
        *nearest_lines(store, unit.folder, planned_configuration(unit.entry)),
    ):
        console.print(f"  {line}", highlight=False, markup=False)


def find_units(store: Store, prefix: str) -> list[tuple[PlannedUnit, str]]:
    """(unit, sweep) of every planned unit whose identity begins with `prefix`."""
    return [
        (unit, sweep)
        for sweep in planned_sweeps(store)
        for unit in planned_units(store, sweep)
        if unit.folder.rsplit("/", 1)[1].startswith(prefix)
    ]


def state_lines(store: Store, unit: PlannedUnit) -> list[str]:
    """Finished when and how, failed why, or missing."""
    done, failed = store.root.read_json(unit.needed[0]), store.root.read_json(unit.failed_file)
    if done and store.finished(unit.needed).issuperset(unit.needed):
        return [
            f"finished {done['finished']} in {done['seconds']:.1f} s on {done['environment']['device']}: not run again"
        ]
    if failed:
        return [f"failed {failed['finished']}: {failed['message']}", "orch sweep tries it again"]
    if done:
        return [
            f"trained {done['finished']}; orch sweep has yet to choose the snapshot under this sweep's protocol"
        ]
    return ["missing: no DONE.json in its folder, so orch sweep runs it"]


def collapse_lines(unit: dict[str, Any]) -> list[str]:
    """The grid points that are this unit, and why they are one."""
    points = unit.get("points", [])
    if len(points) < 2:
        return []
    shown = [f"  {describe(point)}" for point in points[:5]]
    more = [f"  and {len(points) - 5} more"] if len(points) > 5 else []
    return [
        f"stands for {len(points)} points of the grid:",
        *shown,
        *more,
        *(f"because {reason}" for reason in unit["reasons"]),
    ]


def nearest_lines(store: Store, folder: str, own: dict[str, Any]) -> list[str]:
    """The finished unit of the same kind whose configuration differs least, field by field."""
    kind, identity = folder.split("/")
    candidates = []
    for name in store.root.subfolder(kind).folders():
        if name != identity and store.root.exists(f"{kind}/{name}/{DONE}"):
            other = finished_configuration(store, f"{kind}/{name}")
            candidates.append((len(different(own, other)), name, other))
    if not candidates:
        return ["no other finished unit to compare with"]
    _, name, other = min(candidates, key=lambda candidate: candidate[:2])
    changes = [
        f"  {field}: {other.get(field, 'absent')} there, {own.get(field, 'absent')} here"
        for field in different(own, other)
    ]
    same = "  no field differs: another version of the engine made it, or its snapshot was chosen by another rule"
    return [f"nearest finished unit: {name}", *(changes or [same])]


def planned_configuration(unit: dict[str, Any]) -> dict[str, Any]:
    """A planned unit's configuration as dotted fields; a cell's training counts as one field."""
    if "experiment" in unit:
        return flatten(unit["experiment"])
    return {
        **flatten({name: unit[name] for name in MEASURED_SECTIONS}),
        "train_id": unit["train_id"],
    }


def finished_configuration(store: Store, folder: str) -> dict[str, Any]:
    """The same of a finished unit, from what its worker wrote; an earlier version knew fewer sections."""
    if folder.startswith("train/"):
        spec = store.root.read_json(f"{folder}/spec.json")
        return flatten({name: spec.get(name) for name in TRAINED_SECTIONS})
    record = store.root.read_json(f"{folder}/cell.json")
    own = {name: record["experiment"].get(name, {}) for name in MEASURED_SECTIONS}
    return {**flatten(own), "train_id": record["train_id"]}


def different(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Fields whose values differ."""
    return [field for field in sorted({*one, *other}) if one.get(field) != other.get(field)]


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as dotted fields."""
    flat: dict[str, Any] = {}
    for name, entry in value.items():
        flat |= flatten(entry, f"{prefix}{name}.") if isinstance(entry, dict) else {f"{prefix}{name}": entry}
    return flat
