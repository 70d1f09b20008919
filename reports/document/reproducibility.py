"""What ran: the facts another laboratory needs, and the sums that show nothing was dropped."""

from dataclasses import dataclass

from engine.records.manifest import CollapsedPoints
from reports.document import facts
from reports.document.checks import Check, checks
from reports.document.facts import MAX_LISTED, UNKNOWN, Facts
from reports.document.trainings import trainings_table
from reports.formatting import counted, describe, without_credentials
from reports.read.overview import Overview
from reports.tables.table import Table


@dataclass(frozen=True)
class WhatRan:
    """The "What ran" part of a report."""

    command: str
    facts: tuple[Facts, ...]
    checks: tuple[Check, ...]
    trainings: Table | None
    failures: tuple[tuple[str, str], ...]
    """(unit, why it failed)"""
    collapsed: tuple[tuple[str, str], ...]
    """(cell id, why and for which points), at most MAX_LISTED of them."""
    collapsed_total: int


def what_ran(overview: Overview) -> WhatRan:
    """Collect it from the manifest and the results."""
    manifest = overview.sweep.manifest
    return WhatRan(
        command=without_credentials(facts.known(manifest.command)),
        facts=(
            facts.of_sweep(manifest),
            facts.of_networks(manifest.networks),
            facts.of_protocol(overview),
            facts.of_data(manifest.data),
            facts.of_code(manifest.code),
            facts.of_machine(manifest),
        ),
        checks=tuple(checks(overview)),
        trainings=trainings_table(manifest.trainings),
        failures=tuple((one.unit, without_credentials(one.message)) for one in manifest.failures),
        collapsed=tuple((group.cell_id, _collapse(group)) for group in manifest.collapsed[:MAX_LISTED]),
        collapsed_total=len(manifest.collapsed),
    )


def _collapse(group: CollapsedPoints) -> str:
    """Why points are one cell, and the first of them."""
    shown = "; ".join(describe(point) for point in group.points[:2])
    more = f"; and {len(group.points) - 2:,} more" if len(group.points) > 2 else ""
    return f"{group.reason or UNKNOWN} ({counted(len(group.points), 'point')}: {shown}{more})"
