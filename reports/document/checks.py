"""Sums and rules that show nothing was dropped: each is worked out from the files, not taken on trust."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.formatting import counted
from reports.read.overview import Overview

EVALUATIONS: dict[str, Callable[[int], int]] = {
    "euler": lambda n: n,
    "heun": lambda n: 2 * n - 1,
    "rk4": lambda n: 4 * n - 1,
}
"""Evaluations of x0_hat in n steps of a method [P3 Alg. 1, Alg. 2]; the last step never looks beyond its
end."""


def expected_nfe(sampler: Mapping[str, Any], num_steps: Any) -> int | None:
    """Network evaluations of a sampler by its formula; None where the timesteps decide. Guidance takes two
    for each."""
    kind = str(sampler.get("kind"))
    method = {"flow": str(sampler.get("method")), "edm_stochastic": "heun"}.get(kind, kind)
    if method not in EVALUATIONS:
        return None
    return EVALUATIONS[method](num_steps) * (1 if sampler.get("guidance", 1) in (0, 1) else 2)


@dataclass(frozen=True)
class Check:
    """One sum or rule; `passed` is None when the manifest lacks what it needs."""

    text: str
    passed: bool | None


def checks(overview: Overview) -> list[Check]:
    """All checks of a sweep."""
    manifest, results = overview.sweep.manifest, overview.sweep.results
    counts = manifest.get("counts") or {}
    protocol = (manifest.get("protocol") or {}).get("id")
    same = None if protocol is None else protocol == results["protocol_id"].iloc[0]
    trainings, failures = len(manifest.get("trainings") or []), len(manifest.get("failures") or [])
    return [
        _sum_check("grid points", counts, "points", ("cells", "collapsed")),
        _count_check(
            "cells with results", results["cell_id"].nunique(), counts, ("run_cells", "cached_cells")
        ),
        _count_check("finished trainings", trainings, counts, ("run_trainings", "cached_trainings")),
        _count_check("failures listed", failures, counts, ("failed",)),
        _missing_check(overview),
        Check("results and manifest name the same protocol", same),
        _evaluations_check(results),
        _finite_check(results),
    ]


def missing_cells(overview: Overview) -> list[str]:
    """Cells of the plan that have no result, whether they failed or never ran."""
    return sorted(set(overview.sweep.manifest.get("lineage") or {}) - set(overview.sweep.results["cell_id"]))


def _missing_check(overview: Overview) -> Check:
    """A cell without a result must have failed, or its training must have."""
    lineage = overview.sweep.manifest.get("lineage")
    if not lineage:
        return Check("every cell has a result or a failure: not recorded", None)
    failed = {str(one["unit"]) for one in overview.sweep.manifest.get("failures") or []}
    lost = [cell for cell in missing_cells(overview) if not {cell, lineage[cell]} & failed]
    if lost:
        return Check(
            f"{counted(len(lost), 'cell')} with neither a result nor a failure, first {lost[0]}", False
        )
    return Check(f"each of the {counted(len(lineage), 'planned cell')} has a result or a failure", True)


def _sum_check(noun: str, counts: Mapping[str, Any], total: str, parts: tuple[str, ...]) -> Check:
    names = " + ".join(part.replace("_", " ") for part in parts)
    if any(counts.get(field) is None for field in (total, *parts)):
        return Check(f"{noun} = {names}: not recorded", None)
    values = [int(counts[part]) for part in parts]
    passed = int(counts[total]) == sum(values)
    sign = "=" if passed else "≠"
    return Check(
        f"{noun} {sign} {names}: {counts[total]:,} {sign} {' + '.join(f'{v:,}' for v in values)}", passed
    )


def _count_check(noun: str, found: int, counts: Mapping[str, Any], parts: tuple[str, ...]) -> Check:
    names = " + ".join(part.replace("_", " ") for part in parts)
    if any(counts.get(part) is None for part in parts):
        return Check(f"{noun} = {names}: not recorded", None)
    expected = sum(int(counts[part]) for part in parts)
    sign = "=" if found == expected else "≠"
    return Check(f"{noun} {sign} {names}: {found:,} {sign} {expected:,}", found == expected)


def _evaluations_check(results: pd.DataFrame) -> Check:
    cells = results.drop_duplicates("cell_id")
    wrong = [
        row.cell_id
        for row in cells.itertuples()
        if expected_nfe(json.loads(str(row.sampler)), row.num_steps) not in (None, row.nfe)
    ]
    if wrong:
        count = counted(len(wrong), "cell")
        return Check(f"counted NFE differs from the solver's formula in {count}, first {wrong[0]!s}", False)
    return Check("counted NFE agrees with the solvers' formulas (Euler N, Heun 2N − 1, RK4 4N − 1)", True)


def _finite_check(results: pd.DataFrame) -> Check:
    bad = results[~results["value"].abs().lt(float("inf"))]
    if len(bad):
        return Check(
            f"{counted(len(bad), 'value')} not finite, first in cell {bad['cell_id'].iloc[0]}", False
        )
    return Check(f"all {len(results):,} values are finite", True)
