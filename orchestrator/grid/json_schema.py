"""The grid file format as JSON Schema, so that editors complete keys, show descriptions and mark slips."""

from collections.abc import Callable
from typing import Any

from engine.config.linked import LINKED_RULES
from engine.config.playbook import KNOB_GROUPS
from orchestrator.grid.fields import adapters, catalogue, in_group
from orchestrator.grid.file import PLAIN_NAME, Grid
from orchestrator.grid.recipe import PACKAGED, recipe_names

Schema = dict[str, Any]


def grid_json_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a grid file."""
    schema = Grid.model_json_schema()
    values = {field: _value(field) for field in catalogue()}
    samplers = {
        field.removeprefix("sample."): value for field, value in values.items() if field.startswith("sample.")
    }
    varied = {
        field: value
        for field, value in values.items()
        if any(in_group(field, group) for group in KNOB_GROUPS)
    }
    one = _mapping(values)
    many = _mapping(_each(varied, _listed))
    either = _mapping(_each(values, _any_of))
    panel = {**_mapping(_each(samplers, _any_of)), "required": ["kind"]}
    linked = _mapping({field: {"enum": list(LINKED_RULES)} for field in values})
    schema["$defs"]["When"]["properties"] |= {"if": either, "axes": many}
    for name, shape in {"set": one, "axes": many, "linked": linked}.items():
        schema["properties"][name] |= shape
    for name, items in {"zip": many, "points": _mapping(varied), "exclude": either, "panel": panel}.items():
        schema["properties"][name]["items"] = items
    schema["properties"]["varies"]["enum"] = list(KNOB_GROUPS)
    schema["properties"]["recipe"]["anyOf"] = [{"enum": recipe_names(PACKAGED)}, {"pattern": PLAIN_NAME}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _value(field: str) -> Schema:
    """What a field accepts in any of the kinds that have it."""
    forms: list[Schema] = []
    for adapter in adapters(field):
        form = adapter.json_schema()
        form.pop("default", None)
        if form not in forms:
            forms.append(form)
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _each(values: dict[str, Schema], wrap: Callable[[Schema], Schema]) -> dict[str, Schema]:
    return {field: wrap(value) for field, value in values.items()}


def _listed(value: Schema) -> Schema:
    return {"type": "array", "items": value, "minItems": 1, **_description(value)}


def _any_of(value: Schema) -> Schema:
    return {"anyOf": [value, _listed(value)], **_description(value)}


def _description(value: Schema) -> Schema:
    return {"description": value["description"]} if "description" in value else {}


def _mapping(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}
