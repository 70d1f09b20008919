"""`plugins:` of a grid or recipe: the packages whose kinds it uses, and whether they are installed here."""

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.grid.yaml_source import Fault, KeyPath

Plugins = Annotated[tuple[str, ...], Field(strict=True)]
"""Names of packages, each with the versions that will do where that matters: `orch-midpoint>=1.2`."""


def recipe_plugin_faults(value: object, path: KeyPath) -> Iterator[Fault]:
    """What is wrong with a recipe's list of packages, its shape included."""
    try:
        names = TypeAdapter(Plugins).validate_python(value)
    except ValidationError:
        yield Fault(path, "expected a list of packages, such as [orch-midpoint>=1.2]")
        return
    yield from plugin_faults(names, path)


def plugin_faults(names: Sequence[str], path: KeyPath) -> Iterator[Fault]:
    """Packages that are no package's name, are not installed, or have another version than asked for."""
    for index, text in enumerate(names):
        fault = _fault(text, (*path, index))
        if fault:
            yield fault


def _fault(text: str, path: KeyPath) -> Fault | None:
    from packaging.requirements import InvalidRequirement, Requirement

    example = "give a name, and versions if they matter: orch-midpoint>=1.2"
    try:
        asked = Requirement(text)
    except InvalidRequirement:
        return Fault(path, f'"{text}" is no package', suggestion=example)
    if asked.url or asked.marker or asked.extras:
        return Fault(path, f'"{text}" says more than a package and its version', suggestion=example)
    try:
        installed = version(asked.name)
    except PackageNotFoundError:
        advice = f"install it: pip install '{text}'"
        return Fault(path, f"this needs the package {asked.name}, which is not installed", suggestion=advice)
    if asked.specifier.contains(installed, prereleases=True):
        return None
    advice = f"install another: pip install --upgrade '{text}'"
    return Fault(path, f"this needs {text}, and {asked.name} {installed} is installed", suggestion=advice)
