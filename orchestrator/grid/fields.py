"""The dotted fields of an experiment (`model.channels`): which exist and what each accepts."""

from functools import cache, lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from engine.config.experiment import Experiment
from engine.config.playbook import KNOB_GROUPS
from orchestrator.grid.messages import faults
from orchestrator.grid.model_tree import submodels
from orchestrator.grid.yaml_source import Fault, KeyPath, did_you_mean

ABSENT = object()
"""Stands for the value of a field that this kind of model, objective or sampler does not have."""

SEEDS = {"train.seed": "train", "eval.sample_seed": "sample"}
"""Fields that only the grid's `seeds:` block sets, and their key there."""

NO_HOME = "no knob group has it: fix it under set:"
"""Advice for a field that no sweep may vary."""


@cache
def catalogue() -> dict[str, tuple[FieldInfo, ...]]:
    """Every field a grid may set, with its definition in each model that has it."""
    found: dict[str, tuple[FieldInfo, ...]] = {}

    def visit(model: type[BaseModel], prefix: str) -> None:
        for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] != "kind"):
            below = submodels(field.annotation)
            for submodel in below:
                visit(submodel, f"{prefix}{name}.")
            if not below:
                found[prefix + name] = (*found.get(prefix + name, ()), field)

    visit(Experiment, "")
    return {name: fields for name, fields in found.items() if name not in SEEDS}


@lru_cache(maxsize=256)
def adapters(field: str) -> tuple[TypeAdapter[Any], ...]:
    """One strict validator for each definition of a field."""
    config = ConfigDict(strict=True, allow_inf_nan=False)
    annotations: list[Any] = [Annotated[info.annotation, info] for info in catalogue()[field]]
    return tuple(TypeAdapter(annotation, config=config) for annotation in annotations)


def value_fault(field: str, value: Any, path: KeyPath) -> Fault | None:
    """What is wrong with a value on its own, or None if some definition of the field accepts it."""
    errors: list[Fault] = []
    for adapter in adapters(field):
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            errors.append(faults(error, Experiment)[0])
        else:
            return None
    allowed = tuple(dict.fromkeys(word for error in errors for word in error.allowed))
    hint = did_you_mean(str(value), list(allowed)) if allowed else ""
    return Fault((*path, *errors[0].path), errors[0].message, allowed, hint)


def unknown_field_fault(field: str, path: KeyPath) -> Fault | None:
    """What is wrong with a field's name, or None if there is such a field."""
    known = catalogue()
    if field in known:
        return None
    if field in SEEDS:
        return Fault(path, f"seeds are set by seeds: {{{SEEDS[field]}: [...]}}", about_key=True)
    below = tuple(name for name in known if name.startswith(f"{field}."))
    if below:
        return Fault(path, f'"{field}" is a section; name one of its fields', below, about_key=True)
    same_name = [name for name in known if name.split(".")[-1] == field.split(".")[-1].lower()]
    hint = f'did you mean "{same_name[0]}"?' if same_name else did_you_mean(field, list(known))
    section = field.split(".")[0]
    near = () if hint else tuple(name for name in known if name.startswith(f"{section}."))
    return Fault(path, "unknown field", near, hint, about_key=True)


def group_fault(field: str, group: str, path: KeyPath) -> Fault | None:
    """Why a field may not vary in a sweep of this knob group, or None if it may."""
    if in_group(field, group):
        return None
    homes = [name for name in KNOB_GROUPS if in_group(field, name)]
    hint = f"fix it under set:, or vary it in a sweep of its own (varies: {homes[0]})" if homes else NO_HOME
    return Fault(
        path, f"is not in the knob group {group}, the only one that varies", KNOB_GROUPS[group], hint, True
    )


def in_group(field: str, group: str) -> bool:
    """Whether a field is one of a knob group's paths or lies below one."""
    return any(field == part or field.startswith(f"{part}.") for part in KNOB_GROUPS[group])


def value_of(experiment: Experiment, field: str) -> Any:
    """The experiment's value of a field, or ABSENT when its kind of section has no such field."""
    value: Any = experiment
    for part in field.split("."):
        value = getattr(value, part, ABSENT)
    return value
