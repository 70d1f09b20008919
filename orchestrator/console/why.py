"""Explain one unit: its state, the points behind it, and how it differs from the nearest finished one."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from rich.console import Console

from engine.records import paths
from engine.records.corrections import CORRECTIONS
from engine.records.plan import MEASURED_SECTIONS, TRAINED_SECTIONS, PlannedCell, PlannedTraining
from engine.records.units import CellDone, CellRecord, TrainingDone, TrainingSpec, UnitFailed
from orchestrator.console.status_view import PlannedUnit, planned_sweeps, planned_units
from orchestrator.errors import UsageError
from orchestrator.planning.training import describe
from orchestrator.storage.store import Store

Fields = Mapping[str, JsonValue]
"""Dotted field -> value."""

MAX_POINTS_SHOWN = 5


def explain(store: Store, prefix: str, console: Console) -> None:
    """Explain the one unit whose identity begins with `prefix`; UsageError when none or several do."""
    matches = find_units(store, prefix)
    if not matches:
        raise UsageError(
            f"no unit of any sweep in {store.shown} begins with {prefix!r}; see orch status SWEEP"
        )
    identities = sorted({unit.identity for unit, _ in matches})
    if len(identities) > 1:
        raise UsageError(f"{prefix!r} fits {len(identities)} units: {', '.join(identities[:5])}")
    unit, sweep = matches[0]
    console.print(f"{unit.folder} of sweep {sweep}: {unit.entry.label}", highlight=False, markup=False)
    for line in (
        *state_lines(store, unit),
        *collapse_lines(unit.entry),
        *nearest_lines(store, unit),
    ):
        console.print(f"  {line}", highlight=False, markup=False)


def find_units(store: Store, prefix: str) -> list[tuple[PlannedUnit, str]]:
    """(unit, sweep) of every planned unit whose identity begins with `prefix`."""
    return [
        (unit, sweep)
        for sweep in planned_sweeps(store)
        for unit in planned_units(store, sweep)
        if unit.identity.startswith(prefix)
    ]


def state_lines(store: Store, unit: PlannedUnit) -> list[str]:
    """Finished when and how, failed why, or missing."""
    kind: type[TrainingDone] | type[CellDone] = TrainingDone if unit.kind == "train" else CellDone
    done = store.root.read_record(f"{unit.folder}/{paths.DONE}", kind)
    failed = store.root.read_record(unit.failed_file, UnitFailed)
    if done and store.finished(unit.needed).issuperset(unit.needed):
        how = f"in {done.seconds:.1f} s on {done.environment.device}"
        return [f"finished {done.finished} {how}: not run again"]
    if failed:
        return [f"failed {failed.finished}: {failed.message}", "orch sweep tries it again"]
    if done:
        return [
            f"trained {done.finished}; orch sweep has yet to choose the snapshot under this sweep's protocol"
        ]
    return ["missing: no DONE.json in its folder, so orch sweep runs it"]


def collapse_lines(entry: PlannedTraining | PlannedCell) -> list[str]:
    """The grid points that are this unit, and why they are one."""
    if isinstance(entry, PlannedTraining) or len(entry.points) < 2:
        return []
    lines = [f"stands for {len(entry.points)} points of the grid:"]
    lines += [f"  {describe(point)}" for point in entry.points[:MAX_POINTS_SHOWN]]
    if len(entry.points) > MAX_POINTS_SHOWN:
        lines.append(f"  and {len(entry.points) - MAX_POINTS_SHOWN} more")
    return lines + [f"because {reason}" for reason in entry.reasons]


def nearest_lines(store: Store, unit: PlannedUnit) -> list[str]:
    """The finished unit of the same kind whose configuration differs least, field by field.

    Where no field of its own differs, what was corrected since, in a cell's training too.
    """
    kind, identity = unit.folder.split("/")
    own = planned_configuration(unit.entry)
    candidates: list[tuple[int, str, Fields]] = []
    for name in store.root.subfolder(kind).folders():
        if name != identity and store.root.exists(f"{kind}/{name}/{paths.DONE}"):
            other = finished_configuration(store, f"{kind}/{name}")
            candidates.append((len(different(own, other)), name, other))
    if not candidates:
        return ["no other finished unit to compare with"]
    _, name, other = min(candidates, key=lambda candidate: candidate[:2])
    fields = different(own, other)
    changes = [
        f"  {field}: {other.get(field, 'absent')} there, {own.get(field, 'absent')} here" for field in fields
    ]
    if not fields:
        made_with = finished_versions(store, f"{kind}/{name}")
        same = (
            "  no field differs: another version of the engine "
            "made it, or its snapshot was chosen by another rule"
        )
        changes = correction_lines(unit.entry.versions, made_with) or [same]
    elif fields == ["train_id"]:
        changes += training_correction_lines(store, str(own["train_id"]), str(other["train_id"]))
    return [f"nearest finished unit: {name}", *changes]


def correction_lines(here: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """What was corrected between two units of one configuration; a part that is not named has version 1."""
    parts = sorted({*here, *there})
    changed = [part for part in parts if here.get(part, 1) != there.get(part, 1)]
    return [f"  {CORRECTIONS[part].words}" for part in changed if part in CORRECTIONS]


def training_correction_lines(store: Store, here: str, there: str) -> list[str]:
    """The same of two cells' trainings, where no field of theirs differs."""
    planned = [unit.entry for unit, _ in find_units(store, here) if isinstance(unit.entry, PlannedTraining)]
    folder = paths.training_folder(there)
    if not planned or different(planned_configuration(planned[0]), finished_configuration(store, folder)):
        return []
    return correction_lines(planned[0].versions, finished_versions(store, folder))


def finished_versions(store: Store, folder: str) -> Mapping[str, int]:
    """Version of every corrected part that made a finished unit."""
    if folder.startswith(f"{paths.TRAININGS}/"):
        record: TrainingSpec | CellRecord | None = store.root.read_record(
            f"{folder}/{paths.SPEC}", TrainingSpec
        )
    else:
        record = store.root.read_record(f"{folder}/{paths.CELL}", CellRecord)
    return record.versions if record else {}


def planned_configuration(entry: PlannedTraining | PlannedCell) -> Fields:
    """A planned unit's configuration as dotted fields; a cell's training counts as one field."""
    if isinstance(entry, PlannedTraining):
        return dict(flatten(entry.experiment))
    sections = {name: getattr(entry, name) for name in MEASURED_SECTIONS}
    return {**dict(flatten(sections)), "train_id": entry.train_id}


def finished_configuration(store: Store, folder: str) -> Fields:
    """The same of a finished unit, from what its worker wrote; an earlier version knew fewer sections."""
    if folder.startswith(f"{paths.TRAININGS}/"):
        spec = store.root.read_record(f"{folder}/{paths.SPEC}", TrainingSpec)
        return dict(flatten({name: getattr(spec, name, None) for name in TRAINED_SECTIONS}))
    record = store.root.read_record(f"{folder}/{paths.CELL}", CellRecord)
    if record is None:
        return {}
    own = {name: record.experiment.get(name, {}) for name in MEASURED_SECTIONS}
    return {**dict(flatten(own)), "train_id": record.train_id}


def different(one: Fields, other: Fields) -> list[str]:
    """Fields whose values differ. A list that an earlier version did not have yet was empty."""
    fields = sorted({*one, *other})
    return [field for field in fields if _value(one, field) != _value(other, field)]


def _value(fields: Fields, name: str) -> JsonValue:
    value = fields.get(name)
    return None if value == [] else value


def flatten(value: Fields, prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Nested objects as (dotted field, value)."""
    for name, entry in value.items():
        if isinstance(entry, dict):
            yield from flatten(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry
