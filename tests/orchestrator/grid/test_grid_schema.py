"""The JSON Schema that editors use agrees with what the loader accepts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.grid.fields import catalogue
from orchestrator.grid.file import Grid
from orchestrator.grid.json_schema import grid_json_schema
from orchestrator.grid.recipe import PACKAGED
from orchestrator.grid.yaml_source import read_document

jsonschema = pytest.importorskip("jsonschema")
MALFORMED = Path(__file__).parent / "malformed"
SEEN_BY_SCHEMA = [
    "key_unknown",
    "field_unknown",
    "enumerate_unknown",
    "value_choice",
    "linked_unknown",
    "keys_missing",
]
NESTED = {
    "set": {"objective.kind": "regression", "start.train.total_kimg": 8, "eval.consistency.num_steps": 50},
    "axes": {"objective.process.kind": ["discrete", "vp"], "objective.weighting.kind": ["min_snr", "p2"]},
    "when": [{"if": {"objective.weighting.kind": "min_snr"}, "axes": {"objective.weighting.gamma": [1, 5]}}],
}


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema.Draft202012Validator(grid_json_schema())


def as_json(path: Path) -> Any:
    return json.loads(json.dumps(read_document(path).data))


@pytest.mark.slow
def test_it_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema := grid_json_schema())
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_grids_satisfy_it(path: Path, validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(as_json(path))] == []


@pytest.mark.parametrize("kind", ["recipes", "smoke"])
def test_every_value_of_a_shipped_recipe_could_be_set_by_a_grid(kind: str, validator: Any) -> None:
    for path in sorted((PACKAGED / kind).glob("*.yaml")):
        fields = {".".join(names): value for names, value in leaves(as_json(path), ()) if value is not None}
        grid = {"schema": "orch/grid@1", "name": "own", "recipe": path.stem, "varies": "scale", "set": fields}
        assert [error.message for error in validator.iter_errors(grid)] == [], path.name


def leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*path, name))
    else:
        yield path, value


@pytest.mark.parametrize("name", SEEN_BY_SCHEMA)
def test_slips_are_marked_in_the_editor(name: str, validator: Any) -> None:
    assert list(validator.iter_errors(as_json(MALFORMED / f"{name}.yaml")))


def test_kinds_and_fields_of_inner_sections_are_known(validator: Any) -> None:
    grid = {"schema": "orch/grid@1", "name": "own", "recipe": "edm_digits", "varies": "objective", **NESTED}
    assert [error.message for error in validator.iter_errors(grid)] == []
    grid["axes"] = {"objective.process.kind": ["discreet"]}
    assert list(validator.iter_errors(grid))


def test_every_key_and_field_is_offered_with_a_description() -> None:
    schema = grid_json_schema()
    keys = [field.alias or name for name, field in Grid.model_fields.items()]
    assert list(schema["properties"]) == keys
    assert all("description" in value for value in schema["properties"].values())
    assert set(schema["properties"]["set"]["properties"]) == set(catalogue())
    assert schema["properties"]["axes"]["properties"]["model.channels"]["items"]["minimum"] == 1


def test_recipe_names_are_offered_and_others_are_accepted(validator: Any) -> None:
    offered = grid_json_schema()["properties"]["recipe"]["anyOf"][0]["enum"]
    assert "edm_digits" in offered
    mine = {"schema": "orch/grid@1", "name": "mine", "recipe": "my_own", "varies": "scale"}
    assert not list(validator.iter_errors(mine))
