"""manifest.json of a sweep, from its plan and the records of its finished units."""

from collections.abc import Mapping

from pydantic import JsonValue

from engine.backbones.published import published
from engine.config.choices import choice_lines, choices_of
from engine.config.experiment import Experiment
from engine.data.registry import DATASETS
from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.registry import metric_facts
from engine.records import paths
from engine.records.manifest import (
    CollapsedPoints,
    Counts,
    FailedUnit,
    Manifest,
    NetworkEvaluations,
    NetworkFacts,
    ProtocolFacts,
    ReportChoice,
    TrainingFacts,
)
from engine.records.units import DataSeen, Environment, Selection, TrainingDone, UnitFailed
from orchestrator.grid import Sweep
from orchestrator.planning.cost import model_cost
from orchestrator.planning.identity import canonical_json, protocol_id
from orchestrator.planning.noise_levels import level_notes
from orchestrator.planning.plan import Plan
from orchestrator.planning.prefix_groups import evaluations_alone
from orchestrator.planning.training import Training
from orchestrator.results.rows import Records
from orchestrator.storage.provenance import code_fingerprint, environment
from orchestrator.storage.store import Folder, Store, now

CONTENT_KEYS = (
    *("lineage", "collapsed", "idle_axes", "evaluations", "failures", "trainings", "networks"),
    *("off_playbook", "deviations", "report", "metrics"),
)
"""Keys of a manifest that say something of grid and store, whenever it was written."""


def build_manifest(
    plan: Plan, store: Store, records: Records, *, command: str, ran: Mapping[str, int]
) -> Manifest:
    """What ran, with which code, on what, and what is missing: all that a reader needs beside numbers."""
    sweep = plan.sweep
    trainings = [training_facts(unit, store) for unit in plan.ready_trainings]
    failures = unit_failures(plan, store)
    return Manifest(
        sweep=sweep.grid.name,
        recipe=sweep.grid.recipe,
        varies=sweep.grid.varies,
        smoke=sweep.smoke,
        off_playbook=tuple(sorted({field for cell in plan.cells for field in cell.off_playbook})),
        deviations=tuple(deviations(sweep)),
        report=ReportChoice.from_json(sweep.grid.report.model_dump(mode="json")),
        command=command,
        created=now(),
        protocol=protocol_facts(sweep.anchor, plan),
        choices=choice_lines(choices_of(cell.experiment for cell in plan.cells)),
        code=code_fingerprint(),
        environment=machine(trainings),
        data=data_seen(plan, store),
        counts=counts(plan, ran, num_failed=len(failures)),
        evaluations=network_evaluations(plan, records),
        failures=failures,
        trainings=tuple(trainings),
        networks=network_facts(plan),
        collapsed=collapsed_points(plan),
        idle_axes=tuple(plan.idle_axes),
        lineage={cell.cell_id: cell.training.train_id for cell in plan.cells},
        metrics=metric_facts(sorted({metric for record in records.values() for metric in record.metrics})),
    )


def says_more(manifest: Manifest, earlier: Mapping[str, JsonValue] | None) -> bool:
    """Whether grid or store changed since an earlier manifest, whenever and however it was written."""
    if earlier is None:
        return True
    present = manifest.to_json()
    return any(canonical_json(present[key]) != canonical_json(earlier.get(key)) for key in CONTENT_KEYS)


def earlier_manifest(folder: Folder) -> Mapping[str, JsonValue] | None:
    """What a sweep's manifest says now; None where there is none or a damaged one, which is written anew."""
    try:
        value = folder.read_json(paths.MANIFEST)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def protocol_facts(experiment: Experiment, plan: Plan) -> ProtocolFacts:
    """How cells are measured."""
    rule = experiment.eval
    settings = rule.model_dump(mode="json")
    told = {"feature_dims": EXTRACTORS[rule.extractor].dims, "noise_levels": list(level_notes(plan))}
    return ProtocolFacts.from_json({"id": protocol_id(experiment), **settings, **told})


def machine(trainings: list[TrainingFacts]) -> Environment:
    """What this process runs on; where a worker trained, what that ran on, which may be another machine."""
    own = environment()
    if not trainings:
        return own
    worker = trainings[-1].environment.model_dump(exclude_unset=True)
    return Environment.from_json({**own.model_dump(), **worker})


def counts(plan: Plan, ran: Mapping[str, int], *, num_failed: int) -> Counts:
    """How many points, cells and trainings; `ran` are this run's, other finished ones were there before."""
    done_cells = len(plan.cells) - len(plan.missing_cells)
    return Counts(
        points=plan.num_points,
        cells=len(plan.cells),
        collapsed=plan.num_collapsed,
        trainings=len(plan.trainings),
        cached_cells=done_cells - ran["cells"],
        cached_trainings=len(plan.ready_trainings) - ran["trainings"],
        run_cells=ran["cells"],
        run_trainings=ran["trainings"],
        failed=num_failed,
    )


def network_evaluations(plan: Plan, records: Records) -> NetworkEvaluations | None:
    """Images times network evaluations of the finished cells; None when one did not record what was done."""
    cells = [cell for cell in plan.cells if cell.cell_id in records]
    done = 0
    for record in records.values():
        if record.evaluations is None:
            return None
        done += record.evaluations
    alone = [evaluations_alone(cell) for cell in cells]
    return NetworkEvaluations(
        points=sum(len(cell.points) for cell in cells),
        cells=len(cells),
        naive=sum(len(cell.points) * count for cell, count in zip(cells, alone, strict=True)),
        distinct=sum(alone),
        done=done,
    )


def deviations(sweep: Sweep) -> list[str]:
    """How the sweep's anchor differs from its recipe, in words."""
    changed = [f"{field} = {value}" for field, value in sweep.grid.set.items()]
    smoke = "smoke run: embedded digits and a tiny model; the numbers say nothing about the published recipe"
    return [*changed, smoke] if sweep.smoke else changed


def training_facts(unit: Training, store: Store) -> TrainingFacts:
    """Facts of one finished training."""
    folder = store.training(unit.train_id)
    done = folder.read_record(paths.DONE, TrainingDone)
    choice = folder.read_record(paths.selection(unit.selection_id), Selection)
    if done is None or choice is None:
        raise FileNotFoundError(f"{store.shown}/{paths.training_folder(unit.train_id)} is not complete")
    cost = model_cost(unit.experiment)
    train = unit.experiment.train
    return TrainingFacts(
        train_id=unit.train_id,
        axes=unit.axes,
        seed=train.seed,
        seconds=done.seconds,
        images_per_second=train.total_kimg * 1000 / done.seconds,
        num_params=cost.params,
        macs=cost.macs,
        snapshot_kimg=choice.chosen_kimg,
        runner_up_kimg=choice.runner_up_kimg,
        selection_metric=choice.metric,
        device=done.environment.device,
        environment=done.environment,
    )


def network_facts(plan: Plan) -> tuple[NetworkFacts, ...]:
    """Each trained network once: its published name, if any, why it is read so, and its knobs."""
    found: dict[str, NetworkFacts] = {}
    for unit in plan.ready_trainings:
        cost = model_cost(unit.experiment)
        model = unit.experiment.model
        named = published(model)
        knobs = model.model_dump(mode="json", exclude=set(model.execution_settings))
        found[canonical_json(knobs)] = NetworkFacts(
            name=named.name if named else "",
            note=named.note if named else "",
            source=named.source if named else "",
            model=knobs,
            num_params=cost.params,
            macs=cost.macs,
        )
    return tuple(found.values())


def collapsed_points(plan: Plan) -> tuple[CollapsedPoints, ...]:
    """Cells that stand for several points of the grid, and why."""
    return tuple(
        CollapsedPoints(cell_id=cell.cell_id, points=cell.points, reason="; ".join(cell.reasons))
        for cell in plan.cells
        if len(cell.points) > 1
    )


def unit_failures(plan: Plan, store: Store) -> tuple[FailedUnit, ...]:
    """Missing units that recorded why they failed, trainings first."""
    folders = {unit.train_id: store.training(unit.train_id) for unit in plan.missing_trainings}
    folders |= {cell.cell_id: store.cell(cell.cell_id) for cell in plan.missing_cells}
    found: list[FailedUnit] = []
    for unit, folder in folders.items():
        failed = folder.read_record(paths.FAILED, UnitFailed)
        if failed is not None:
            found.append(FailedUnit(unit=unit, message=failed.message))
    return tuple(found)


def data_seen(plan: Plan, store: Store) -> DataSeen:
    """Name, size and content hash of the data set, as the workers saw it."""
    name = plan.sweep.anchor.data.name
    extractor = plan.sweep.anchor.eval.extractor
    seen = store.references(name, extractor).read_record(paths.DATA, DataSeen)
    return DataSeen(name=name, sha256=seen.sha256 if seen else None, num_images=DATASETS[name].num_images)
