"""Rows of results.parquet from the records of finished cells."""

import json
from collections.abc import Iterable, Mapping
from functools import cache

import pyarrow as pa
from pydantic import TypeAdapter

from engine.backbones.published import published
from engine.records import paths
from engine.records.plan import TRAINED_SECTIONS
from engine.records.tables import ASKED_OF_KINDS, RESULTS
from engine.records.units import CellRecord
from engine.samplers.base import SamplerBase
from engine.samplers.registry import Sampler
from orchestrator.planning.cell import Cell
from orchestrator.planning.cost import model_cost
from orchestrator.planning.plan import Plan
from orchestrator.storage.store import Store

Records = Mapping[str, CellRecord]
"""Cell id -> what was measured."""

Row = dict[str, object]
"""Column of RESULTS -> value."""


def cell_records(plan: Plan, store: Store) -> Records:
    """What was recorded of each finished cell, by its id."""
    found: dict[str, CellRecord] = {}
    for cell in plan.cells:
        if cell.done_file not in plan.finished:
            continue
        record = store.cell(cell.cell_id).read_record(paths.CELL, CellRecord)
        if record is not None:
            found[cell.cell_id] = record
    return found


def result_table(plan: Plan, records: Records) -> pa.Table:
    """All rows of a sweep, cell by cell in the plan's order [RESULTS]."""
    rows: list[Row] = []
    for cell in plan.cells:
        if cell.cell_id in records:
            rows += cell_rows(plan, cell, records[cell.cell_id])
    return pa.Table.from_pylist(rows, RESULTS)


def cell_rows(plan: Plan, cell: Cell, record: CellRecord) -> list[Row]:
    """One row for each metric of a finished cell."""
    shared = {
        **_protocol_columns(cell, record),
        **_weights_columns(cell, record),
        **_configuration_columns(plan, cell, record),
        **sampler_columns(cell.experiment.sample),
    }
    rows: list[Row] = []
    for metric, value in record.metrics.items():
        left_out = record.jackknife.get(metric)
        jackknife = "" if left_out is None else json.dumps(left_out)
        rows.append({**shared, "metric": metric, "value": value, "jackknife": jackknife})
    return rows


def _protocol_columns(cell: Cell, record: CellRecord) -> Row:
    return {
        "protocol_id": cell.protocol_id,
        "num_samples": cell.experiment.eval.num_samples,
        "extractor": cell.experiment.eval.extractor,
        "extractor_sha256": record.extractor_sha256,
        "reference_id": record.reference_id,
    }


def _weights_columns(cell: Cell, record: CellRecord) -> Row:
    experiment = cell.experiment
    return {
        "cell_id": cell.cell_id,
        "train_id": cell.training.train_id,
        "weights": experiment.weights.label(experiment.train),
        "snapshot_kimg": record.snapshot_kimg,
        "train_seed": experiment.train.seed,
        "sample_seed": experiment.eval.sample_seed,
    }


def _configuration_columns(plan: Plan, cell: Cell, record: CellRecord) -> Row:
    model = cell.experiment.model
    sweep = plan.sweep
    named = published(model)
    return {
        "sweep": sweep.grid.name,
        "recipe": sweep.grid.recipe,
        "varies": sweep.grid.varies,
        "axes": json.dumps(cell.axes),
        "trained_axes": json.dumps(trained_axes(cell.axes)),
        "model": model.model_dump_json(),
        "num_params": record.num_params,
        "macs": record.macs or model_cost(cell.experiment).macs,
        "network": named.name if named else "",
        "nfe": record.nfe,
        "collapsed": json.dumps(cell.reasons),
        "off_playbook": json.dumps(cell.off_playbook),
        "smoke": sweep.smoke,
        "panel": paths.cell_panel(cell.cell_id),
    }


def sampler_columns(sampler: SamplerBase) -> Row:
    """What a sampler says of itself."""
    return {
        "sampler": sampler.model_dump_json(),
        "sampler_label": sampler.label,
        "solver": sampler.family,
        "deterministic": sampler.deterministic,
        "num_steps": sampler.num_steps,
    }


def trained_axes(axes: Iterable[str]) -> list[str]:
    """Those of the swept fields that make another training; samplers and averages of weights do not."""
    return [field for field in axes if field.split(".")[0] in TRAINED_SECTIONS]


def with_columns_of_kinds(results: pa.Table) -> pa.Table:
    """A table of an earlier version with the columns that it lacks and that the kinds know
    [ASKED_OF_KINDS]."""
    missing = [name for name in ASKED_OF_KINDS if name not in results.column_names]
    if not missing:
        return results
    texts = zip(results.column("sampler").to_pylist(), results.column("axes").to_pylist(), strict=True)
    known = [_columns_of_kinds(sampler, axes) for sampler, axes in texts]
    for name in missing:
        values = pa.array([row[name] for row in known], RESULTS.field(name).type)
        results = results.append_column(name, values)
    return results


@cache
def _columns_of_kinds(sampler: str, axes: str) -> Row:
    """Columns of one cell from its sampler and axes as JSON; a cell has many rows, so each is asked once."""
    read: SamplerBase = TypeAdapter(Sampler).validate_json(sampler)
    return {**sampler_columns(read), "trained_axes": json.dumps(trained_axes(json.loads(axes)))}
