"""Named choices are in the plan and in the manifest, and so in the report:
cells that differ, side by side."""

from io import StringIO
from typing import Any

from rich.console import Console
from sweep_tables import collected, manifest

from engine.config.choices import choice_lines, choices_of
from orchestrator.console.plan_view import show_choices
from reports.document.facts import of_protocol
from reports.read.grouping import overview
from reports.read.sweep import read_sweep


def test_the_plan_shows_every_choice_of_its_cells(fake: Any) -> None:
    console = Console(file=StringIO(), width=80)
    plan = fake.plan()
    show_choices(plan, console)
    shown = console.file.getvalue().splitlines()
    told = choice_lines(choices_of(cell.experiment for cell in plan.cells))
    assert shown == ["chosen, defaults too:", *(f"  {section}: {words}" for section, words in told.items())]


def test_manifest_and_report_tell_the_same(finished: Any) -> None:
    collected(finished)
    told = choice_lines(choices_of(cell.experiment for cell in finished.plan().cells))
    assert manifest(finished)["choices"] == told
    assert "kind" in told["sample"]
    read = read_sweep(finished.path / "sweeps/tiny", finished.path)
    block = dict(of_protocol(overview(read)).items)
    for section, words in told.items():
        assert block[f"chosen in {section}"] == words
