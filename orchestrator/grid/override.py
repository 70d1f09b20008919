"""Change fields of an experiment: only the sections that are touched are built and checked again."""

from functools import cache, lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.config.experiment import Experiment
from engine.frozen import Frozen
from orchestrator.grid.file import Overrides
from orchestrator.grid.messages import faults
from orchestrator.grid.model_tree import children, kind_of
from orchestrator.grid.yaml_source import Fault, PlainMapping


class InvalidFields(Exception):
    """The changed experiment is not valid; the faults' paths are those of the experiment."""

    def __init__(self, found: list[Fault], overrides: Overrides) -> None:
        self.faults = found
        self.overrides = overrides
        super().__init__(found, overrides)


def changed(experiment: Experiment, overrides: Overrides) -> Experiment:
    """The experiment with these dotted fields replaced. Raises InvalidFields.

    A section that changes its kind keeps what the new kind also has and was written down; the rest are
    defaults. The same holds for the sections inside it.
    """
    by_section: dict[str, list[tuple[str, Any]]] = {}
    for field, value in overrides.items():
        section, _, below = field.partition(".")
        by_section.setdefault(section, []).append((below, value))
    sections = dict(experiment)
    found = []
    for name, changes in by_section.items():
        try:
            sections[name] = _changed_section(name, sections[name], tuple(changes))
        except ValidationError as error:
            found += faults(error, Experiment, (name,))
    if found:
        raise InvalidFields(found, overrides)
    return Experiment.model_construct(**sections)


@cache
def section_type(name: str) -> TypeAdapter[Any]:
    """Validator of one section, whatever its kind."""
    field = Experiment.model_fields[name]
    annotation: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotation)


@lru_cache(maxsize=4096)
def _changed_section(name: str, section: Frozen | None, changes: tuple[tuple[str, Any], ...]) -> Frozen:
    holder: PlainMapping = {name: written(section)}
    for path, value in sorted(changes, key=_outer_kinds_first):
        _set(holder, (name, *path.split(".")), value)
    result: Frozen = section_type(name).validate_python(holder[name])
    return result


def _outer_kinds_first(change: tuple[str, Any]) -> tuple[bool, int]:
    """Sort key: a kind decides which fields there are, so it comes before them, outer kinds before inner."""
    parts = change[0].split(".")
    return parts[-1] != "kind", len(parts)


def _set(target: PlainMapping, parts: tuple[str, ...], value: Any) -> None:
    """Set a field below `target`; a section on the way that is not there begins as its default."""
    models: list[type[BaseModel]] = [Experiment]
    for part in parts[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = written(_default(models, target.get("kind"), part))
        target = target[part]
        models = children(models, part)
    if parts[-1] == "kind" and target.get("kind") != value:
        _keep_common(target, [model for model in models if kind_of(model) == value])
    target[parts[-1]] = value


def _default(models: list[type[BaseModel]], kind: Any, part: str) -> Frozen | None:
    """The default of a section inside the model of that kind, if it has one."""
    owners = [model for model in models if kind_of(model) in (None, kind) and part in model.model_fields]
    default = owners[0].model_fields[part].get_default(call_default_factory=True) if owners else None
    return default if isinstance(default, Frozen) else None


def _keep_common(target: PlainMapping, models: list[type[BaseModel]]) -> None:
    """Drop the fields that these models, of the new kind, lack, and sections whose kind they do not offer."""
    known = {field for model in models for field in model.model_fields}
    for field, value in [*target.items()]:
        kinds = [kind_of(model) for model in children(models, field)]
        if field not in known or (isinstance(value, dict) and value.get("kind") not in (None, *kinds)):
            del target[field]


def written(section: Frozen | None) -> PlainMapping:
    """The fields of a section that were written down, as plain data, and its kind."""
    if section is None:
        return {}
    # The kind comes first, also where it is the default: the other fields mean nothing without it.
    names = ["kind"] if "kind" in type(section).model_fields else []
    found: PlainMapping = {}
    for name in [*names, *section.model_fields_set]:
        value = getattr(section, name)
        found[name] = written(value) if isinstance(value, Frozen) else value
    return found
