"""Change fields of an experiment: only the sections that are touched are built and checked again."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from engine.frozen import Frozen
from engine.spec import Experiment
from orchestrator.grid.words import children, faults, kind_of
from orchestrator.grid.yaml_source import Fault


class InvalidFields(Exception):
    """The changed experiment is not valid; the faults' paths are those of the experiment."""

    def __init__(self, found: list[Fault], overrides: Mapping[str, Any]) -> None:
        self.faults, self.overrides = found, overrides
        super().__init__(found, overrides)


def changed(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """The experiment with these dotted fields replaced. Raises InvalidFields.

    A section that changes its kind keeps what the new kind also has and was written down; the rest are defaults.
    """
    by_section: dict[str, list[tuple[str, Any]]] = {}
    for field, value in overrides.items():
        section, _, below = field.partition(".")
        by_section.setdefault(section, []).append((below, value))
    sections, found = dict(experiment), []
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
def _changed_section(name: str, section: Frozen, changes: tuple[tuple[str, Any], ...]) -> Frozen:
    values = section.model_dump(exclude_unset=True)
    kind = dict(changes).get("kind", values.get("kind"))
    if kind != values.get("kind"):
        new = [model for model in children([Experiment], name) if kind_of(model) == kind]
        values = {key: value for key, value in values.items() if any(key in model.model_fields for model in new)}
    for path, value in changes:
        *parents, last = path.split(".")
        target = values
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    result: Frozen = section_type(name).validate_python(values)
    return result
