"""One list a concept: its built-in kinds, and those that installed packages offer under an entry-point group.

Unions of configurations, JSON Schema, help and conformance tests are derived
from these lists, so nothing is listed twice. A module that defines a kind
must not import the list it is in: lists live in a room's `registry.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any, Literal, TypeVar, Union, get_args

from pydantic import Field

Kind = TypeVar("Kind")

Group = Literal[
    "orch.samplers", "orch.backbones", "orch.metrics", "orch.datasets", "orch.extractors", "orch.tables"
]
"""Entry-point groups under which an installed package may offer kinds."""

PREFIX = "orch."
"""What is offered under a group that begins so is meant for us."""


class PluginError(ImportError):
    """An installed package offers a kind that cannot be used;
    the message names the package and says what is wrong."""


@dataclass(frozen=True)
class Origin:
    """The installed package that a kind comes from;
    part of the identity of everything made with that kind."""

    package: str
    version: str


_origins: dict[int, Origin] = {}
"""id of a kind that a package offers -> that package. Kinds live as long as the process."""


def origin_of(kind: object) -> Origin | None:
    """The package that offers a kind, a class or an object of a list; None for a built-in one."""
    return _origins.get(id(kind))


def kind_name(kind: object) -> str:
    """The name of a kind: of a configuration class the one
    value of its field `kind`, of an object its `name`."""
    own: Any = kind
    return str(own.model_fields["kind"].default if isinstance(kind, type) else own.name)


def built_in(package: str, base: type, *, inside: str = "") -> list[Any]:
    """The kinds defined by the modules of a package, in the order of their `position`, then of their names.

    A kind is a subclass of `base` with a field `kind`, or an object of class
    `base`. With `inside` the kinds have a folder each, and its module of that
    name is read: `built_in("engine.backbones", ModelBase, inside="config")`.
    """
    found: dict[str, Any] = {}
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        name = f"{module.name}.{inside}" if inside else module.name
        if bool(inside) != module.ispkg or find_spec(name) is None:
            continue
        loaded = import_module(name)
        for value in vars(loaded).values():
            if _is_kind_of(value, base, loaded.__name__):
                found[kind_name(value)] = value
    return sorted(found.values(), key=lambda kind: (getattr(kind, "position", LAST), kind_name(kind)))


LAST = 1_000
"""Position of a kind that names none: behind those that do."""


def _is_kind_of(value: Any, base: type, module: str) -> bool:
    """Whether a module's value is a kind that this module defines, and not one that it imports."""
    if not isinstance(value, type):
        return isinstance(value, base)
    field = getattr(value, "model_fields", {}).get("kind")
    return issubclass(value, base) and value.__module__ == module and field is not None


class Kinds(Mapping[str, Kind]):
    """All kinds of one concept by name: the built-in ones in their order, then those of packages by name."""

    def __init__(
        self,
        concept: str,
        builtin: Iterable[Kind],
        *,
        group: Group | None = None,
        base: type | None = None,
    ) -> None:
        """`concept` is the word for messages; `base` is what a
        package's kind must derive from, or be an object of.

        Raises PluginError for a package's kind that cannot be used.
        """
        self.concept = concept
        self._base = base
        self._kinds: dict[str, Kind] = {kind_name(kind): kind for kind in builtin}
        for entry in _entries(group) if group else ():
            self._add(entry)

    def _add(self, entry: EntryPoint) -> None:
        """Take in what a package offers."""
        package = entry.dist.name if entry.dist else entry.module
        offered = f"the installed package {package} offers the {self.concept} {entry.name!r}"
        if entry.name in self._kinds:
            other = origin_of(self._kinds[entry.name])
            whose = f", of the package {other.package}" if other else ""
            raise PluginError(
                f"{offered}, and there is one of that name already{whose}: uninstall it, or rename its kind"
            )
        try:
            kind = entry.load()
        except Exception as error:
            advice = "mend or uninstall the package"
            reason = f"{type(error).__name__}: {error}"
            raise PluginError(f"{offered}, which cannot be loaded ({reason}): {advice}") from error
        if lack := self._lack_of(kind):
            raise PluginError(f"{offered}, which {lack}: mend or uninstall the package")
        found = kind_name(kind)
        if found != entry.name:
            raise PluginError(
                f"{offered}, which calls itself {found!r}: the entry point must have the kind's own name"
            )
        self._kinds[found] = kind
        _origins[id(kind)] = Origin(package, entry.dist.version if entry.dist else "unknown")

    def _lack_of(self, kind: Any) -> str:
        """Why what a package offers is no kind of this concept, in words; nothing when it is one.

        Asked before anybody uses it: later a configuration would fail far from the package that is at fault.
        """
        base = self._base
        if base is None:
            return ""
        whole = f"{base.__module__}.{base.__qualname__}"
        if not hasattr(base, "model_fields"):
            return "" if isinstance(kind, base) else f"is no object of {whole}"
        if not (isinstance(kind, type) and issubclass(kind, base)):
            return f"is no subclass of {whole}"
        if "kind" not in getattr(kind, "model_fields", {}):
            return f"has no field kind, which {whole} asks for"
        missing = sorted(getattr(kind, "__abstractmethods__", ()))
        return f"leaves out {', '.join(missing)}, which {whole} asks for" if missing else ""

    def __getitem__(self, name: str) -> Kind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def union(self) -> Any:
        """The type of a field that holds any of these configurations, told apart by `kind`."""
        kinds = tuple(self._kinds.values())
        return Annotated[Union[kinds], Field(discriminator="kind")]  # noqa: UP007 - of a tuple that is known at run time

    def names(self) -> Any:
        """The type of a field that holds the name of one of these kinds."""
        return Literal[tuple(self._kinds)]


@cache
def _all_entries() -> Any:
    """Entry points of all installed packages.
    Reading them takes a walk over every package, so it is done once.

    Raises PluginError for a group that begins as ours do and is none of them: a slip would go unnoticed.
    """
    found = entry_points()
    for group in sorted(found.groups):
        if group.startswith(PREFIX) and group not in get_args(Group):
            entry = next(iter(found.select(group=group)))
            package = entry.dist.name if entry.dist else entry.module
            raise PluginError(
                f"the installed package {package} offers {entry.name!r} under {group}, where nothing "
                f"is looked for; there are: {', '.join(get_args(Group))}: mend or uninstall the package"
            )
    return found


def _entries(group: Group) -> list[EntryPoint]:
    return sorted(_all_entries().select(group=group), key=lambda entry: entry.name)
