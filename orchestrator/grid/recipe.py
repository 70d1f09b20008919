"""Recipes and smoke overlays: where they are found, how they become the anchor experiment of a sweep."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.config.experiment import Experiment, config_conflicts
from engine.conflicts import ConfigConflict
from engine.data.registry import DATASETS
from engine.metrics.registry import measurable
from orchestrator.errors import GridError
from orchestrator.grid.fields import SEEDS, catalogue, unknown_field_fault, value_fault
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.messages import faults
from orchestrator.grid.override import InvalidFields, changed, section_type
from orchestrator.grid.plugins import recipe_plugin_faults
from orchestrator.grid.yaml_source import (
    Document,
    Fault,
    KeyPath,
    PlainMapping,
    did_you_mean,
    dotted,
    read_document,
)

PLUGINS = "plugins"
"""Key of a recipe that is no section: the packages whose kinds it uses."""

PACKAGED = Path(__file__).resolve().parent.parent.parent / "grids"
"""The grids that come with the tool."""


def load_anchor(grid: Grid, document: Document, folder: Path, smoke: bool) -> Experiment:
    """The recipe after `set` and a smoke run's overlay. Raises GridError naming the file at fault."""
    recipe = _find(folder, "recipes", grid.recipe, document)
    anchor = read_recipe(recipe)
    fixed = {field: value for field, value in grid.set.items() if field in catalogue()}
    anchor = _change(anchor, fixed, {field: ("set", field) for field in fixed}, document)
    if not smoke:
        return anchor
    overlay = read_document(_find(folder, "smoke", grid.recipe, document))
    values, places = read_overlay(overlay)
    return _change(anchor, _without_what_is_too_small(anchor, values), places, overlay)


def _without_what_is_too_small(anchor: Experiment, overlay: Overrides) -> Overrides:
    """A smoke overlay that asks for fewer metrics where its few images or its extractor do not serve them."""
    if "eval.metrics" in overlay:
        return overlay
    shrunk = {
        field: overlay.get(f"eval.{field}", getattr(anchor.eval, field))
        for field in ("extractor", "num_samples")
    }
    data_name = str(overlay.get("data.name", anchor.data.name))
    kept = measurable(anchor.eval.model_copy(update=shrunk), DATASETS[data_name].num_images)
    return overlay if kept == anchor.eval.metrics else {**overlay, "eval.metrics": kept}


def recipe_names(folder: Path, kind: str = "recipes") -> list[str]:
    """Names of the recipes (or smoke overlays) beside a grid and of those that come with the tool."""
    return sorted({path.stem for root in (folder, PACKAGED) for path in (root / kind).glob("*.yaml")})


def read_recipe(path: Path) -> Experiment:
    """A recipe file as an experiment. Raises GridError with everything wrong in it."""
    document = read_document(path)
    written = {name: value for name, value in document.data.items() if name != PLUGINS}
    seeds = [(("train", "seed"), "train.seed"), (("eval", "sample_seed"), "eval.sample_seed")]
    found = [_seed_fault(place, field) for place, field in seeds if place in document.marks]
    if PLUGINS in document.data:
        found += recipe_plugin_faults(document.data[PLUGINS], (PLUGINS,))
    try:
        recipe = Experiment.model_validate(written)
    except ValidationError as error:
        found += faults(error, Experiment) if error.errors()[0]["loc"] else _misfit_faults(written, document)
    if found:
        raise GridError(document.problem(fault) for fault in found)
    return recipe


def _misfit_faults(values: PlainMapping, document: Document) -> list[Fault]:
    """What is wrong with a recipe each of whose sections is right."""
    sections = {name: section_type(name).validate_python(value) for name, value in values.items()}
    written = {".".join(str(part) for part in path) for path in document.marks}
    return [
        conflict_fault(conflict, written)
        for conflict in config_conflicts(Experiment.model_construct(**sections))
    ]


def conflict_fault(conflict: ConfigConflict, written: Collection[str]) -> Fault:
    """Two sections that are at odds, as a fault of the likeliest of their fields that is written down."""
    fields, message = conflict
    likeliest = (
        name for field in fields for name in written if name == field or name.startswith(f"{field}.")
    )
    return Fault(tuple(next(likeliest, fields[0]).split(".")), message)


def read_overlay(document: Document) -> tuple[Overrides, dict[str, KeyPath]]:
    """A smoke overlay as dotted fields with their values and places. Raises GridError."""
    leaves = [(dotted(path), path, value) for path, value in _leaves(document.data, ())]
    found = [
        unknown_field_fault(field, path) or value_fault(field, value, path) for field, path, value in leaves
    ]
    if any(found):
        raise GridError(document.problem(fault) for fault in found if fault)
    return {field: value for field, _, value in leaves}, {field: path for field, path, _ in leaves}


def placed(fault: Fault, places: Mapping[str, KeyPath]) -> Fault:
    """An experiment's fault where its field was written; a section's at its first written field.

    A field that was not written is named in the message, at the place of its nearest neighbour.
    """
    parts = [str(part) for part in fault.path]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in places:
            return replace(fault, path=(*places[name], *fault.path[length:]))
        near = [path for field, path in places.items() if field.startswith(f"{name}.")]
        if near:
            absent = f"{dotted(fault.path)}: " if length < len(parts) else ""
            return replace(fault, path=near[0], message=absent + fault.message)
    return fault


def _find(folder: Path, kind: str, name: str, document: Document) -> Path:
    for root in (folder, PACKAGED):
        path = root / kind / f"{name}.yaml"
        if path.is_file():
            return path
    known = recipe_names(folder, kind)
    message = f'no recipe "{name}"' if kind == "recipes" else f'recipe "{name}" has no smoke overlay'
    raise GridError([document.problem(Fault(("recipe",), message, tuple(known), did_you_mean(name, known)))])


def _change(
    anchor: Experiment, values: Overrides, places: Mapping[str, KeyPath], document: Document
) -> Experiment:
    try:
        return changed(anchor, values)
    except InvalidFields as error:
        raise GridError(document.problem(placed(fault, places)) for fault in error.faults) from None


def _leaves(values: PlainMapping, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _seed_fault(place: KeyPath, field: str) -> Fault:
    return Fault(place, f"seeds belong to a grid; set seeds: {{{SEEDS[field]}: [...]}} there", about_key=True)
