"""The configuration's models as a tree: which fields and kinds lie below which, and where an error sits."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from orchestrator.grid.yaml_source import KeyPath

ALTERNATIVE = re.compile(r"constrained-|tuple\[")
"""How the location of an error begins to name one of a field's alternatives, `int | tuple[int, ...]`."""


def submodels(annotation: Any) -> list[type[BaseModel]]:
    """The models a type annotation may hold, at any depth of unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in submodels(part)]


def children(models: Iterable[type[BaseModel]], name: str) -> list[type[BaseModel]]:
    """The models below the field that the file calls `name`."""
    return [below for model in models for below in _below(model, name)]


@cache
def _below(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The same for one model; asked for in every point of a grid."""
    fields = [field for key, field in model.model_fields.items() if name in (key, field.alias)]
    return [below for field in fields for below in submodels(field.annotation)]


def trace(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[KeyPath, list[type[BaseModel]]]:
    """Path in the file of an error's location, and the models that hold its last part.

    The tags of unions and the names of alternatives are in no file.
    """
    path: list[str | int] = []
    owners = [model]
    for position, part in enumerate(loc):
        if is_alternative(part):
            continue
        tagged = [owner for owner in owners if kind_of(owner) == part]
        if tagged:
            owners = tagged
            continue
        path.append(part)
        if isinstance(part, str) and position < len(loc) - 1:
            owners = children(owners, part) or owners
    return tuple(path), owners


def kind_of(model: type[BaseModel]) -> Any:
    """The tag that tells a model apart from the others of its section, if it has one."""
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def keys_of(models: list[type[BaseModel]]) -> list[str]:
    """Names of the models' fields as a file writes them."""
    names = dict.fromkeys(
        field.alias or name for model in models for name, field in model.model_fields.items()
    )
    return sorted(names, key=lambda name: name != "kind")


def is_alternative(part: str | int) -> bool:
    """Whether a part of a location names an alternative and no key of the file."""
    return isinstance(part, str) and ALTERNATIVE.match(part) is not None
