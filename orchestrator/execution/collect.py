"""From finished units in the store to the sweep's tables: results.parquet, curves.parquet and
manifest.json."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine import ENGINE_VERSION
from engine.backbones.published import published
from engine.config.experiment import Experiment
from engine.metrics.extractors.registry import EXTRACTORS
from engine.records.tables import CURVES, RESULTS
from orchestrator.console.model_view import network_name
from orchestrator.grid import Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.cost import model_cost
from orchestrator.planning.identity import canonical_json, protocol_id
from orchestrator.planning.plan import Plan
from orchestrator.planning.prefix_groups import evaluations_alone
from orchestrator.planning.training import Training
from orchestrator.storage.provenance import code_fingerprint, environment, package_version
from orchestrator.storage.store import CURVES_FILE, DONE, FAILED, Folder, Store, now

Records = Mapping[str, Mapping[str, Any]]
"""Cell id -> content of its cell.json."""

CONTENT_KEYS = (
    *("lineage", "collapsed", "idle_axes", "evaluations", "failures", "trainings", "networks"),
    *("off_playbook", "deviations", "report"),
)
"""Keys of a manifest that say something of grid and store, whenever it was written."""


def collect(plan: Plan, store: Store, folder: Folder, *, command: str, ran: dict[str, int]) -> bool:
    """Write the sweep's tables from what is finished; returns whether they differ from those already
    there."""
    records = cell_records(plan, store)
    results = [
        row for cell in plan.cells if cell.cell_id in records for row in cell_rows(plan, cell, records)
    ]
    drawn = (training_curves(unit.train_id, unit.selection_id, store) for unit in plan.ready_trainings)
    curves = pa.concat_tables([CURVES.empty_table(), *drawn])
    manifest = build_manifest(plan, store, records, command=command, ran=ran)
    tables = {"results.parquet": pa.Table.from_pylist(results, RESULTS), "curves.parquet": curves}
    changed = [_write_if_new(folder, name, _parquet(table)) for name, table in tables.items()]
    if any(changed) or any(ran.values()) or _says_more(manifest, folder.read_json("manifest.json")):
        folder.write_json("manifest.json", manifest)
        return True
    return False


def cell_records(plan: Plan, store: Store) -> Records:
    """What was recorded of each finished cell, by its id."""
    finished = (cell.cell_id for cell in plan.cells if cell.done_file in plan.finished)
    return {cell_id: store.cell(cell_id).read_json("cell.json") for cell_id in finished}


def cell_rows(plan: Plan, cell: Cell, records: Records) -> list[dict[str, Any]]:
    """One row for each metric of a finished cell."""
    record, experiment, sweep = records[cell.cell_id], cell.experiment, plan.sweep
    left_out = {metric: json.dumps(values) for metric, values in record.get("jackknife", {}).items()}
    shared = {
        "sweep": sweep.grid.name,
        "cell_id": cell.cell_id,
        "train_id": cell.training.train_id,
        "protocol_id": cell.protocol_id,
        "num_samples": experiment.eval.num_samples,
        "extractor": experiment.eval.extractor,
        "extractor_sha256": record["extractor_sha256"],
        "reference_id": record["reference_id"],
        "weights": experiment.weights.label(experiment.train),
        "snapshot_kimg": record["snapshot_kimg"],
        "train_seed": experiment.train.seed,
        "sample_seed": experiment.eval.sample_seed,
        "recipe": sweep.grid.recipe,
        "varies": sweep.grid.varies,
        "axes": json.dumps(cell.axes),
        "model": experiment.model.model_dump_json(),
        "num_params": record["num_params"],
        "macs": record.get("macs") or model_cost(experiment).macs,
        "network": network_name(experiment.model),
        "sampler": experiment.sample.model_dump_json(),
        "sampler_label": experiment.sample.label,
        "num_steps": experiment.sample.num_steps,
        "nfe": record["nfe"],
        "collapsed": json.dumps(cell.reasons),
        "off_playbook": json.dumps(cell.off_playbook),
        "smoke": sweep.smoke,
        "panel": f"cells/{cell.cell_id}/panel.png",
    }
    return [
        {**shared, "metric": metric, "value": value, "jackknife": left_out.get(metric, "")}
        for metric, value in record["metrics"].items()
    ]


def training_curves(train_id: str, selection_id: str, store: Store) -> pa.Table:
    """A training's curves and, beside them, the score of each snapshot under the sweep's protocol."""
    folder = store.training(train_id)
    choice = folder.read_json(f"selections/{selection_id}.json")
    scores = [
        (train_id, images / 1000, f"selection/{choice['metric']}", value)
        for images, value in choice["scores"]
    ]
    rows = [dict(zip(CURVES.names, row, strict=True)) for row in scores]
    return pa.concat_tables(
        [pq.read_table(io.BytesIO(folder.read(CURVES_FILE) or b"")), pa.Table.from_pylist(rows, CURVES)]
    )


def build_manifest(
    plan: Plan, store: Store, records: Records, *, command: str, ran: dict[str, int]
) -> dict[str, Any]:
    """What ran, with which code, on what, and what is missing: everything a reader needs besides the
    numbers."""
    sweep, experiment = plan.sweep, plan.sweep.anchor
    trainings = [training_record(unit, store) for unit in plan.ready_trainings]
    failures = unit_failures(plan, store)
    workers = [record["environment"] for record in trainings]
    return {
        "schema": "orch/manifest@1",
        "sweep": sweep.grid.name,
        "recipe": sweep.grid.recipe,
        "varies": sweep.grid.varies,
        "smoke": sweep.smoke,
        "off_playbook": sorted({field for cell in plan.cells for field in cell.off_playbook}),
        "deviations": deviations(sweep),
        "report": sweep.grid.report.model_dump(mode="json"),
        "command": command,
        "created": now(),
        "protocol": protocol_record(experiment),
        "code": code_record(),
        "environment": {**environment(), **(workers[-1] if workers else {})},
        "data": data_record(plan, store),
        "counts": {
            "points": plan.num_points,
            "cells": len(plan.cells),
            "collapsed": plan.num_collapsed,
            "trainings": len(plan.trainings),
            "cached_cells": len(plan.cells) - len(plan.missing_cells) - ran["cells"],
            "cached_trainings": len(plan.trainings) - len(plan.missing_trainings) - ran["trainings"],
            "run_cells": ran["cells"],
            "run_trainings": ran["trainings"],
            "failed": len(failures),
        },
        "evaluations": evaluations_record(plan, records),
        "failures": failures,
        "trainings": trainings,
        "networks": network_records(plan),
        "collapsed": [
            {"cell_id": cell.cell_id, "points": list(cell.points), "reason": "; ".join(cell.reasons)}
            for cell in plan.cells
            if len(cell.points) > 1
        ],
        "idle_axes": list(plan.idle_axes),
        "lineage": {cell.cell_id: cell.training.train_id for cell in plan.cells},
    }


def protocol_record(experiment: Experiment) -> dict[str, Any]:
    """How cells are measured."""
    rule = experiment.eval
    return {
        "id": protocol_id(experiment),
        **rule.model_dump(mode="json"),
        "feature_dims": EXTRACTORS[rule.extractor].dims,
    }


def evaluations_record(plan: Plan, records: Records) -> dict[str, int] | None:
    """Images times network evaluations, padding included, of the finished cells: naive, distinct and really
    done.

    `naive` draws every grid point, `distinct` every cell alone. None when a cell did not record what was done
    for it.
    """
    cells = [cell for cell in plan.cells if cell.cell_id in records]
    if not all("evaluations" in record for record in records.values()):
        return None
    alone = [evaluations_alone(cell) for cell in cells]
    return {
        "points": sum(len(cell.points) for cell in cells),
        "cells": len(cells),
        "naive": sum(len(cell.points) * count for cell, count in zip(cells, alone, strict=True)),
        "distinct": sum(alone),
        "done": sum(record["evaluations"] for record in records.values()),
    }


def code_record() -> dict[str, Any]:
    """Which code ran."""
    versions = {"orch_version": package_version("orch-diffusion"), "engine_version": ENGINE_VERSION}
    return {**code_fingerprint(), **versions}


def deviations(sweep: Sweep) -> list[str]:
    """How the sweep's anchor differs from its recipe, in words."""
    changed = [f"{field} = {value}" for field, value in sweep.grid.set.items()]
    smoke = "smoke run: embedded digits and a tiny model; the numbers say nothing about the published recipe"
    return [*changed, smoke] if sweep.smoke else changed


def training_record(unit: Training, store: Store) -> dict[str, Any]:
    """Facts of one finished training."""
    folder = store.training(unit.train_id)
    done, choice = folder.read_json(DONE), folder.read_json(f"selections/{unit.selection_id}.json")
    cost, train = model_cost(unit.experiment), unit.experiment.train
    return {
        "train_id": unit.train_id,
        "axes": unit.axes,
        "seed": train.seed,
        "seconds": done["seconds"],
        "images_per_second": train.total_kimg * 1000 / done["seconds"],
        "num_params": cost.params,
        "macs": cost.macs,
        "snapshot_kimg": choice["chosen"] / 1000,
        "runner_up_kimg": None if choice["runner_up"] is None else choice["runner_up"] / 1000,
        "selection_metric": choice["metric"],
        "device": done["environment"]["device"],
        "environment": done["environment"],
    }


def network_records(plan: Plan) -> list[dict[str, Any]]:
    """Each network that was trained, once: its published name if it has one, why it is read so, and its
    knobs."""
    found: dict[str, dict[str, Any]] = {}
    for unit in plan.ready_trainings:
        cost, name = model_cost(unit.experiment), published(unit.experiment.model)
        knobs = unit.experiment.model.model_dump(mode="json")
        knobs.pop("flops_ratio", None)  # how much of a DyDiT is executed does not make it another network
        found[canonical_json(knobs)] = {
            "name": name.name if name else "",
            "note": name.note if name else "",
            "source": name.source if name else "",
            "model": knobs,
            "num_params": cost.params,
            "macs": cost.macs,
        }
    return list(found.values())


def unit_failures(plan: Plan, store: Store) -> list[dict[str, str]]:
    """Missing units that recorded why they failed."""
    folders = {unit.train_id: store.training(unit.train_id) for unit in plan.missing_trainings}
    folders |= {cell.cell_id: store.cell(cell.cell_id) for cell in plan.missing_cells}
    records = ((name, folder.read_json(FAILED)) for name, folder in folders.items())
    return [{"unit": name, "message": record["message"]} for name, record in records if record]


def data_record(plan: Plan, store: Store) -> dict[str, Any]:
    """Name, size and content hash of the data set, as the workers saw it."""
    from engine.data.registry import DATASETS

    data, extractor = plan.sweep.anchor.data.name, plan.sweep.anchor.eval.extractor
    seen = store.references(data, extractor).read_json("data.json") or {}
    return {"name": data, "sha256": seen.get("sha256"), "num_images": DATASETS[data].num_images}


def _says_more(manifest: dict[str, Any], earlier: dict[str, Any] | None) -> bool:
    """Whether grid or store have changed since an earlier manifest; when and how it was written does not
    count."""
    return earlier is None or any(
        canonical_json(manifest[key]) != canonical_json(earlier.get(key)) for key in CONTENT_KEYS
    )


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _write_if_new(folder: Folder, name: str, data: bytes) -> bool:
    if folder.read(name) == data:
        return False
    folder.write(name, data)
    return True
