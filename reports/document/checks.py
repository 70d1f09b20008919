"""Sums and rules that show nothing was dropped: each is worked out from the files, not taken on trust."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from pydantic import JsonValue

from engine.records.manifest import Counts
from reports.formatting import counted
from reports.read.overview import Overview

EVALUATIONS: dict[str, Callable[[int], int]] = {
    "euler": lambda n: n,
    "heun": lambda n: 2 * n - 1,
    "rk4": lambda n: 4 * n - 1,
}
"""Evaluations of x0_hat in n steps of a method [P3 Alg. 1, Alg. 2]; the last step never looks ahead."""


def expected_nfe(sampler: Mapping[str, JsonValue], num_steps: int) -> int | None:
    """A sampler's network evaluations by its formula, two a step if guided; None where timesteps decide."""
    kind = str(sampler.get("kind"))
    method = {"flow": str(sampler.get("method")), "edm_stochastic": "heun"}.get(kind, kind)
    if method not in EVALUATIONS:
        return None
    return EVALUATIONS[method](num_steps) * (1 if sampler.get("guidance", 1) in (0, 1) else 2)


@dataclass(frozen=True)
class Check:
    """One sum or rule; `passed` is None when there is nothing to hold it against."""

    text: str
    passed: bool | None


def checks(overview: Overview) -> list[Check]:
    """All checks of a sweep."""
    manifest = overview.sweep.manifest
    results = overview.sweep.results
    counts = manifest.counts
    return [
        _sum_check("grid points", counts, "points", ("cells", "collapsed")),
        _count_check(
            "cells with results", results["cell_id"].nunique(), counts, ("run_cells", "cached_cells")
        ),
        _count_check(
            "finished trainings", len(manifest.trainings), counts, ("run_trainings", "cached_trainings")
        ),
        _count_check("failures listed", len(manifest.failures), counts, ("failed",)),
        _missing_check(overview),
        _protocol_check(overview),
        _evaluations_check(results),
        _finite_check(results),
    ]


def missing_cells(overview: Overview) -> list[str]:
    """Cells of the plan that have no result, whether they failed or never ran."""
    return sorted(overview.sweep.manifest.lineage.keys() - set(overview.sweep.results["cell_id"]))


def _protocol_check(overview: Overview) -> Check:
    """The manifest's protocol is the one that the rows were measured under."""
    told = overview.sweep.manifest.protocol.id
    measured = overview.sweep.results["protocol_id"].iloc[0]
    same = None if told is None else bool(told == measured)
    return Check("results and manifest name the same protocol", same)


def _missing_check(overview: Overview) -> Check:
    """A cell without a result must have failed, or its training must have."""
    lineage = overview.sweep.manifest.lineage
    if not lineage:
        return Check("every cell has a result or a failure: not recorded", None)
    failed = {one.unit for one in overview.sweep.manifest.failures}
    lost = [cell for cell in missing_cells(overview) if not {cell, lineage[cell]} & failed]
    if lost:
        return Check(
            f"{counted(len(lost), 'cell')} with neither a result nor a failure, first {lost[0]}", False
        )
    return Check(f"each of the {counted(len(lineage), 'planned cell')} has a result or a failure", True)


def _sum_check(noun: str, counts: Counts, total: str, parts: Sequence[str]) -> Check:
    """One of the counts is the sum of others."""
    names = _names(parts)
    whole: int | None = getattr(counts, total)
    values = _values(counts, parts)
    if whole is None or values is None:
        return Check(f"{noun} = {names}: not recorded", None)
    passed = whole == sum(values)
    sign = "=" if passed else "≠"
    terms = " + ".join(f"{value:,}" for value in values)
    return Check(f"{noun} {sign} {names}: {whole:,} {sign} {terms}", passed)


def _count_check(noun: str, found: int, counts: Counts, parts: Sequence[str]) -> Check:
    """What was found in the files is the sum of counts."""
    names = _names(parts)
    values = _values(counts, parts)
    if values is None:
        return Check(f"{noun} = {names}: not recorded", None)
    expected = sum(values)
    sign = "=" if found == expected else "≠"
    return Check(f"{noun} {sign} {names}: {found:,} {sign} {expected:,}", found == expected)


def _names(parts: Sequence[str]) -> str:
    return " + ".join(part.replace("_", " ") for part in parts)


def _values(counts: Counts, parts: Sequence[str]) -> list[int] | None:
    """The counts of these names; None when one was not recorded."""
    values = [getattr(counts, part) for part in parts]
    return None if any(value is None for value in values) else values


def _evaluations_check(results: pd.DataFrame) -> Check:
    cells = results.drop_duplicates("cell_id")
    wrong: list[object] = []
    compared = 0
    for cell_id, sampler, num_steps, nfe in zip(
        cells["cell_id"], cells["sampler"], cells["num_steps"], cells["nfe"], strict=True
    ):
        expected = expected_nfe(json.loads(sampler), int(num_steps))
        if expected is None:
            continue
        compared += 1
        if expected != nfe:
            wrong.append(cell_id)
    if wrong:
        count = counted(len(wrong), "cell")
        return Check(f"counted NFE differs from the solver's formula in {count}, first {wrong[0]!s}", False)
    if not compared:
        return Check("counted NFE against the solvers' formulas: no solver here has one", None)
    where = "" if compared == len(cells) else f" in {compared} of {counted(len(cells), 'cell')}"
    formulas = "Euler N, Heun 2N − 1, RK4 4N − 1"
    return Check(f"counted NFE agrees with the solvers' formulas ({formulas}){where}", True)


def _finite_check(results: pd.DataFrame) -> Check:
    bad = results[~results["value"].abs().lt(float("inf"))]
    if len(bad):
        return Check(
            f"{counted(len(bad), 'value')} not finite, first in cell {bad['cell_id'].iloc[0]}", False
        )
    return Check(f"all {len(results):,} values are finite", True)
