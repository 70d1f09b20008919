"""Every named choice of an experiment is told, whichever kinds it is made of.

Which fields are a choice is read from the JSON Schema here, a way of its own: a list of names, a switch,
or something that may be absent. A field that is added anywhere is found; one that is told nowhere fails.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from engine.backbones.registry import BACKBONES
from engine.config.choices import choice_lines, choices_of
from engine.config.experiment import Consistency, Experiment, Likelihood, LossGap
from engine.objectives.registry import OBJECTIVES
from engine.process.noise_levels import NOISE_LEVELS
from engine.process.processes import PROCESSES
from engine.process.training_schedule import TRAINING_SCHEDULES
from engine.process.weighting import WEIGHTINGS
from engine.samplers.registry import SAMPLERS
from orchestrator.grid.recipe import PACKAGED, read_recipe

RECIPES = sorted((PACKAGED / "recipes").glob("*.yaml"))
KINDS = [
    (concept.concept, kind)
    for concept in (SAMPLERS, OBJECTIVES, BACKBONES, PROCESSES, NOISE_LEVELS, WEIGHTINGS, TRAINING_SCHEDULES)
    for kind in concept.values()
]


NAMED = {
    "dydit_cifar10": {
        "model.ramp": "released",
        "objective.strata": "4",
        "train.grad_clip.kind": "skip",
        "train.lr_first_step": "ramp",
    },
    "ocm_digits": {
        "objective.head": "complex",
        "objective.backbone_dropout": "off",
        "model.min_group_channels": "2",
    },
}
"""Of recipes: where released programs differ from one another or from us in networks and training."""


@pytest.mark.parametrize("recipe", NAMED)
def test_conventions_of_networks_and_training_are_told(recipe: str) -> None:
    told = choices_of([read_recipe(PACKAGED / "recipes" / f"{recipe}.yaml")])
    assert {field: told[field] for field in NAMED[recipe]} == {
        field: (value,) for field, value in NAMED[recipe].items()
    }


def is_choice(schema: dict[str, Any]) -> bool:
    if "enum" in schema or "const" in schema or schema.get("type") in ("boolean", "null"):
        return True
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return items.get("type") == "string" or is_choice(items)
    return any(is_choice(part) for part in schema.get("anyOf", ()))


def choices_in(section: BaseModel, path: str) -> Iterator[tuple[str, Any]]:
    """Fields of a section and of those inside it that its
    JSON Schema says are a choice, with their values."""
    properties = type(section).model_json_schema()["properties"]
    for field in type(section).model_fields:
        value = getattr(section, field)
        inner = value if isinstance(value, tuple) else (value,)
        if any(isinstance(one, BaseModel) for one in inner):
            for one in inner:
                yield from choices_in(one, f"{path}.{field}")
        elif is_choice(properties[field]):
            yield f"{path}.{field}", value


def written(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def experiment_of(**sections: Any) -> Any:
    """A stand-in of a few sections; the process is nothing."""
    nothing = SimpleNamespace(design=SimpleNamespace(process=None))

    class Some(SimpleNamespace):
        base_objective = nothing

        def __iter__(self) -> Iterator[tuple[str, Any]]:
            yield from vars(self).items()

    return Some(**sections)


def smallest(kind: type[BaseModel]) -> BaseModel:
    """A configuration of a kind, whose required fields are counts or lists of them."""
    required = {name: field for name, field in kind.model_fields.items() if field.is_required()}
    return kind.model_construct(**dict.fromkeys(required, 4))


@pytest.mark.parametrize(("concept", "kind"), KINDS, ids=lambda one: getattr(one, "__name__", one))
def test_every_choice_of_every_kind_is_told(concept: str, kind: type[BaseModel]) -> None:
    section = smallest(kind)
    told = choices_of([experiment_of(part=section)])
    expected = dict(choices_in(section, "part"))
    assert set(told) == set(expected)
    assert told["part.kind"] == (kind.model_fields["kind"].default,)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_choice_of_a_recipe_is_in_the_words_with_its_value(path: Path) -> None:
    recipe = read_recipe(path)
    more = {"consistency": Consistency(), "likelihood": Likelihood(), "loss_gap": LossGap()}
    full = recipe.model_copy(update={"eval": recipe.eval.model_copy(update=more)})
    lines = choice_lines(choices_of([full]))
    sections = {name: value for name, value in full if isinstance(value, BaseModel)}
    sections["process"] = full.base_objective.design.process
    for section, value in sections.items():
        parts = lines[section].split(", ")
        for field, chosen in choices_in(value, section):
            assert f"{field.removeprefix(f'{section}.')} {written(chosen)}" in parts
    assert "likelihood.decoder walk" in lines["eval"]


def test_values_that_differ_between_cells_stand_beside_each_other() -> None:
    recipe = read_recipe(PACKAGED / "recipes/iddpm_digits.yaml")
    samplers = [recipe.sample.model_copy(update={"num_steps": steps}) for steps in (4, 8)]
    other = next(kind for name, kind in SAMPLERS.items() if name != recipe.sample.kind)
    cells = [recipe.model_copy(update={"sample": sampler}) for sampler in (*samplers, other(num_steps=4))]
    assert choices_of(cells)["sample.kind"] == (recipe.sample.kind, other.model_fields["kind"].default)


def test_the_processes_of_many_experiments_are_all_told() -> None:
    """Each experiment is gone when the next is made, and its place in memory may be the next one's."""
    recipe = read_recipe(PACKAGED / "recipes/iddpm_digits.yaml")
    schedules = ("linear", "cosine", "sigmoid", "exponential")
    changed = (
        recipe.model_copy(update={"objective": recipe.objective.model_copy(update={"schedule": schedule})})
        for schedule in schedules
    )
    assert choices_of(changed)["process.schedule"] == schedules


def test_a_long_list_of_values_is_cut() -> None:
    lines = choice_lines({"sample.tau": tuple(f"rule{number}" for number in range(11))})
    assert lines == {"sample": "tau " + " / ".join(f"rule{number}" for number in range(8)) + " and 3 more"}


def test_nothing_but_an_experiments_sections_and_its_process_is_walked() -> None:
    recipe = read_recipe(PACKAGED / "recipes/edm_digits.yaml")
    assert set(choice_lines(choices_of([recipe]))) <= {*Experiment.model_fields, "process"}
