"""The page on evaluation lists every metric, with the arrow that reports show."""

import re
from pathlib import Path

import pytest

from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.registry import METRICS, metric_facts

PAGE = (Path(__file__).resolve().parents[2] / "docs/evaluation.md").read_text()
TABLE = PAGE.split("## Every metric")[1].split("\n## ")[0]
ROWS = [
    [part.strip() for part in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| `")
]
ARROWS = {name: row[2] for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
NAMED = {
    "fd_<extractor>": "fd_classifier",
    "kd_<extractor>": "kd_classifier",
    "kd_<extractor>_std": "kd_classifier_std",
}
"""Rows for many names, and one of those."""


def test_every_number_with_one_name_has_its_row() -> None:
    names = {fact.name for kind in METRICS.values() for fact in kind.facts}
    assert names <= set(ARROWS)


def test_every_kind_of_metric_is_there() -> None:
    """Kinds whose numbers have several names are found by them."""
    listed = [NAMED.get(name, name) for name in ARROWS]
    for kind in METRICS.values():
        assert any(kind.facts_of(name) for name in listed), kind.name


@pytest.mark.parametrize("name", ARROWS)
def test_the_arrow_is_the_one_that_reports_show(name: str) -> None:
    metric = NAMED.get(name, name)
    assert metric_facts([metric])[metric].group, "no such metric"
    assert metric_facts([metric])[metric].arrow == ARROWS[name]


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE
