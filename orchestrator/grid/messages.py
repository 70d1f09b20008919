"""Validation errors in plain words, with the dotted field they are about."""

import re
from itertools import takewhile
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.grid.model_tree import children, is_alternative, keys_of, kind_of, trace
from orchestrator.grid.yaml_source import Fault, KeyPath, did_you_mean

WORDS = {
    "bool_type": "expected true or false, got {value}",
    "dict_type": "expected a mapping, got {value}",
    "extra_forbidden": "unknown key",
    "finite_number": "expected a finite number, got {value}",
    "float_type": "expected a number, got {value}",
    "greater_than": "must be greater than {gt:g}, got {value}",
    "greater_than_equal": "must be at least {ge:g}, got {value}",
    "int_type": "expected a whole number, got {value}",
    "less_than": "must be less than {lt:g}, got {value}",
    "less_than_equal": "must be at most {le:g}, got {value}",
    "literal_error": "{value} is not one of the choices",
    "missing": "is missing",
    "model_type": "expected a mapping, got {value}",
    "string_pattern_mismatch": (
        "{value} is no plain name: a letter or digit, then at most 63 letters, digits, - or _"
    ),
    "string_type": "expected text, got {value}",
    "too_short": "needs at least one entry",
    "tuple_type": "expected a list, got {value}",
    "union_tag_invalid": 'kind "{tag}" is not one of the choices',
    "union_tag_not_found": "needs a kind",
    "value_error": "{error}",
}
"""The kinds of error that the models can raise, in words."""


def show(value: Any) -> str:
    """A value as the file writes it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        text = f"[{', '.join(show(item) for item in value)}]"
    elif isinstance(value, str):
        text = f'"{value}"'
    else:
        text = str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def faults(error: ValidationError, model: type[BaseModel], prefix: KeyPath = ()) -> list[Fault]:
    """The error's parts in plain words; `prefix` is where in `model` the validated value sits."""
    details = [detail for detail in error.errors() if not _echo(detail)]
    return [_fault(detail, model, (*prefix, *detail["loc"])) for detail in _of_meant_type(details)]


def _of_meant_type(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Where a field takes lists and numbers, each is measured as what it is; anything else as the first."""
    by_field: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in details:
        field = tuple(takewhile(lambda part: not is_alternative(part), detail["loc"]))
        by_field.setdefault(field, []).append(detail)
    found: list[ErrorDetails] = []
    for group in by_field.values():
        found += [detail for detail in group if not _is_of_another_type(detail)] or group[:1]
    return found


def _is_of_another_type(detail: ErrorDetails) -> bool:
    return detail["type"].endswith("_type") and any(is_alternative(part) for part in detail["loc"][-1:])


def _echo(detail: ErrorDetails) -> bool:
    """A list is called too short only because its items were refused, which is reported already."""
    return detail["type"] == "too_short" and len(detail["input"]) > 0


def _fault(detail: ErrorDetails, model: type[BaseModel], loc: KeyPath) -> Fault:
    path, owners = trace(model, loc)
    kind = detail["type"]
    context = detail.get("ctx", {})
    message = WORDS[kind].format(value=show(detail["input"]), **context) if kind in WORDS else detail["msg"]
    if kind == "extra_forbidden":
        return _unknown_key(path, owners)
    if kind == "union_tag_not_found":
        return Fault(path, message, tuple(str(kind_of(choice)) for choice in children(owners, str(path[-1]))))
    allowed = tuple(
        re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags") or ""))
    )
    given = str(context.get("tag", detail["input"]))
    suggestion = did_you_mean(given, list(allowed)) if allowed else ""
    return Fault((*path, "kind") if kind == "union_tag_invalid" else path, message, allowed, suggestion)


def _unknown_key(path: KeyPath, owners: list[type[BaseModel]]) -> Fault:
    known = keys_of(owners)
    owner = kind_of(owners[0]) if len(owners) == 1 else None
    message = f"{owner} has no such field" if owner else WORDS["extra_forbidden"]
    hint = did_you_mean(str(path[-1]), known)
    return Fault(path, message, () if hint else tuple(known), hint, about_key=True)
