"""The named choices of experiments: every field that takes
one of several names (or some), is on or off, or absent.

Where papers and programs differ, what was chosen decides a number. So plans and reports tell all of them, the
defaults too: a reader must not know this project's defaults to know what was done.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from engine.config.experiment import Experiment

MAX_SHOWN = 8
"""Different values of a choice that are listed."""


def choices_of(experiments: Iterable[Experiment]) -> dict[str, tuple[str, ...]]:
    """Dotted field -> its values in these experiments, in the order they occur;
    sections in the order of a recipe.

    `process` is no section of a recipe: it is the process that the objective trains with.
    """
    found: dict[str, dict[str, None]] = {}
    # Cells of a sweep share most of their sections, so each object is walked once.
    # It is held here besides: the id of an object that is gone may be another's.
    walked: dict[tuple[str, int], object] = {}
    for experiment in experiments:
        for section, source in (*experiment, ("process", experiment.base_objective)):
            if (section, id(source)) in walked:
                continue
            walked[section, id(source)] = source
            value = experiment.base_objective.design.process if section == "process" else source
            for field, name in _walk(value, section):
                found.setdefault(field, {})[name] = None
    return {field: tuple(values) for field, values in found.items()}


def choice_lines(choices: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Section -> its choices in words: "kind ddim / heun, clip none"."""
    lines: dict[str, list[str]] = {}
    for field, values in choices.items():
        section, _, below = field.partition(".")
        shown = " / ".join(values[:MAX_SHOWN])
        more = f" and {len(values) - MAX_SHOWN} more" if len(values) > MAX_SHOWN else ""
        lines.setdefault(section, []).append(f"{below or 'this'} {shown}{more}")
    return {section: ", ".join(parts) for section, parts in lines.items()}


def _walk(value: object, path: str) -> Iterator[tuple[str, str]]:
    """The choices in a section and in the sections inside it, with their values in words."""
    if isinstance(value, tuple):
        for item in value:
            yield from _walk(item, path)
        return
    if not isinstance(value, BaseModel):
        return
    for field in type(value).model_fields:
        inner = getattr(value, field)
        name = f"{path}.{field}"
        if isinstance(inner, BaseModel) or (isinstance(inner, tuple) and _holds_sections(inner)):
            yield from _walk(inner, name)
        elif field in _choice_fields(type(value)):
            yield name, _words(inner)


def _holds_sections(items: tuple[object, ...]) -> bool:
    return any(isinstance(item, BaseModel) for item in items)


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _choice_fields(section: type[BaseModel]) -> frozenset[str]:
    """Fields of a section that are a choice by their type."""
    return frozenset(name for name, field in section.model_fields.items() if _is_choice(field.annotation))


def _is_choice(annotation: Any) -> bool:
    """Whether a type is a list of names, a switch, or something that may be absent."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_choice(get_args(annotation)[0])
    if annotation in (bool, NoneType) or origin is Literal:
        return True
    if origin is tuple:
        return any(part is str or _is_choice(part) for part in get_args(annotation))
    # `X | None` and `Union[X, None]` differ in their origin, and in nothing else.
    is_union = origin is Union or type(annotation).__name__ == "UnionType"
    return is_union and any(_is_choice(part) for part in get_args(annotation))
