"""Scalars follow the YAML 1.2 core schema, and every key and value knows its place."""

import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.grid.yaml_source import Mark, dotted, plain_scalar, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("-.inf", -math.inf),
        ("18", 18),
        ("+7", 7),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.10.0", "1.10.0"),
        ("e3", "e3"),
        (".", "."),
    ],
)
def test_unquoted_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    found = plain_scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_number() -> None:
    assert math.isnan(float(str(plain_scalar(".nan"))))


def test_quoted_scalars_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: '1e-4'\nb: \"true\"\nc: |\n  7\n")
    assert read_document(path).data == {"a": "1e-4", "b": "true", "c": "7\n"}


def test_values_and_keys_know_their_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("axes:\n  model.channels: [64,\n    96]\nempty:\nlast: 1\n")
    document = read_document(path)
    assert document.data == {"axes": {"model.channels": (64, 96)}, "empty": None, "last": 1}
    assert document.marks["axes", "model.channels"] == Mark(value=(2, 19), key=(2, 3))
    assert document.marks["axes", "model.channels", 1] == Mark(value=(3, 5), key=(3, 5))
    assert document.marks["empty",] == Mark(value=(4, 1), key=(4, 1))
    assert dotted(("axes", "model.channels", 1)) == "axes.model.channels[1]"


def test_a_yaml_1_2_directive_and_an_end_mark_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("%YAML 1.2\n---\na: no\n...\n")
    assert read_document(path).data == {"a": "no"}
