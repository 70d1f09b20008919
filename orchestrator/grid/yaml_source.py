"""A YAML 1.2 file as plain values, with the line and column of every key and value.

Scalars follow the YAML 1.2 core schema: `1e-4` is a number and `no` is text. Sequences become tuples.
Anchors, aliases, tags and directives are refused: a grid needs none, and aliases can blow a small file up.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from orchestrator.errors import GridError, Problem

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a file down to one value."""

PlainMapping = dict[str, Any]
"""A mapping of a YAML file: text, numbers, truth values, None, tuples and mappings below its keys."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def plain_scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar under the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def dotted(path: KeyPath) -> str:
    """A path as people read it: `axes.model.channels[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def did_you_mean(word: str, known: list[str]) -> str:
    """`did you mean "x"?` for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return f'did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the value (or key) at a path, before it is known where in a file that is."""

    path: KeyPath
    message: str
    allowed: tuple[str, ...] = ()
    suggestion: str = ""
    about_key: bool = False


@dataclass(frozen=True)
class Mark:
    """Line and column, from 1, of a value and of the key it belongs to (list items: of the value twice)."""

    value: tuple[int, int]
    key: tuple[int, int]


@dataclass(frozen=True)
class Document:
    """One file: its name as shown in messages, its text, its values and where they are."""

    file: str
    text: str
    data: PlainMapping
    marks: dict[KeyPath, Mark]

    def problem(self, fault: Fault) -> Problem:
        """A fault as a problem of this file, at its place or that of the nearest parent in the file."""
        known = fault.path
        while known not in self.marks:
            known = known[:-1]
        mark = self.marks[known]
        line, column = mark.key if fault.about_key else mark.value
        return Problem(
            self.file, line, column, dotted(fault.path), fault.message, fault.allowed, fault.suggestion
        )


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping. Raises GridError with all that is wrong as YAML."""
    file = _display(path)
    text = _read_text(path, file)
    reader = _Reader(file)
    try:
        data = reader.document(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        reader.problems.append(_syntax_problem(error, file, text))
    if reader.problems:
        raise GridError(reader.problems)
    if not isinstance(data, dict):
        message = "the file is empty" if data is None else "the file must be a mapping of keys to values"
        raise GridError([Problem(file, 1, 1, "", message)])
    return Document(file, text, data, reader.marks)


def _display(path: Path) -> str:
    """The path relative to the current folder if it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _read_text(path: Path, file: str) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        near = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise GridError(
            [Problem(file, None, None, "", "no such file", (), did_you_mean(str(path), near))]
        ) from None
    except OSError as error:
        raise GridError([Problem(file, None, None, "", f"cannot be read: {error.strerror}")]) from None
    if len(raw) > MAX_BYTES:
        raise GridError([Problem(file, None, None, "", f"larger than {MAX_BYTES:,} bytes")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8", "replace"))
        raise GridError([Problem(file, line, column, "", "the file is not UTF-8 text")]) from None


def _position(before: str) -> tuple[int, int]:
    """Line and column of the character that follows `before`."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax_problem(error: YAMLError, file: str, text: str) -> Problem:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        start = f" ({error.context}, line {error.context_mark.line + 1})" if error.context_mark else ""
        hint = "indent with spaces" if "'\\t'" in error.problem else ""
        return Problem(
            file, mark.line + 1, mark.column + 1, "", f"YAML syntax: {error.problem}{start}", (), hint
        )
    line, column = _position(text[: getattr(error, "position", 0)])
    return Problem(file, line, column, "", f"YAML syntax: {getattr(error, 'reason', error)}")


class _Reader:
    """Builds values from parser events, noting where each is and what a grid file may not contain."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.marks: dict[KeyPath, Mark] = {}
        self.problems: list[Problem] = []

    def document(self, events: Iterator[Event]) -> Any:
        """The value of the only document."""
        data: Any = None
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if event.version not in (None, (1, 2)):
                    self._refuse(event, (), "files are YAML 1.2; remove the %YAML directive")
                if documents > 1:
                    self._refuse(event, (), "the file holds more than one document; keep one")
                    break
                data = self._value(next(events), events, ())
        return data

    def _refuse(self, event: Event, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(self.file, *_start(event), dotted(path), message))

    def _value(
        self, event: Event, events: Iterator[Event], path: KeyPath, key: tuple[int, int] | None = None
    ) -> Any:
        empty = isinstance(event, ScalarEvent) and event.start_mark.index == event.end_mark.index
        start = key if key and empty else _start(event)
        self.marks[path] = Mark(start, key or start)
        if isinstance(event, AliasEvent):
            self._refuse(event, path, f"aliases are not supported; write the value of *{event.anchor} out")
            return None
        if isinstance(event, ScalarEvent | CollectionStartEvent):
            self._refuse_decoration(event, path)
        if isinstance(event, ScalarEvent):
            return plain_scalar(event.value) if event.implicit[0] else event.value
        if len(path) >= MAX_DEPTH:
            raise GridError(
                [*self.problems, Problem(self.file, *start, "", f"nested deeper than {MAX_DEPTH} levels")]
            )
        if isinstance(event, SequenceStartEvent):
            return tuple(self._items(events, path))
        return self._mapping(events, path)

    def _refuse_decoration(self, event: ScalarEvent | CollectionStartEvent, path: KeyPath) -> None:
        if event.anchor is not None:
            self._refuse(event, path, f"anchors are not supported; remove &{event.anchor}")
        if event.tag is not None:
            self._refuse(event, path, "tags are not supported; write a plain value")

    def _items(self, events: Iterator[Event], path: KeyPath) -> Iterator[Any]:
        for index, event in enumerate(events):
            if isinstance(event, SequenceEndEvent):
                return
            yield self._value(event, events, (*path, index))

    def _mapping(self, events: Iterator[Event], path: KeyPath) -> PlainMapping:
        values: PlainMapping = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, events, path)
            where = (*path, key)
            if key in values:
                self._refuse(event, where, f"given twice, first on line {self.marks[where].key[0]}")
                where = (*where, "again")
            value = self._value(next(events), events, where, _start(event))
            values.setdefault(key, value)
        return values

    def _key(self, event: Event, events: Iterator[Event], path: KeyPath) -> str:
        where = (*path, "(key)")
        key = self._value(event, events, where)
        del self.marks[where]
        if isinstance(key, str):
            return key
        self._refuse(event, path, "keys must be text")
        return "({}:{})".format(*_start(event))


def _start(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
