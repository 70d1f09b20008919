"""The content-addressed store: what is finished is what lies here, on a local path or any pyarrow filesystem.

A unit's folder is trusted only once it holds DONE.json, which is written
last. Files appear whole: on a local path each is written under a temporary
name and renamed; object stores publish an object only when it is complete.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pyarrow import fs

from engine.records import paths
from engine.records.record import Record
from engine.records.units import CellDone, TrainingDone, UnitFailed
from orchestrator.errors import UsageError
from orchestrator.storage.provenance import redacted

DONE = paths.DONE
FAILED = paths.FAILED

Read = TypeVar("Read", bound=Record)


@dataclass(frozen=True)
class Folder:
    """One folder of the store. Paths are relative to it and may not leave it."""

    filesystem: fs.FileSystem
    path: str

    def read(self, name: str) -> bytes | None:
        """Content of a file, or None when there is none."""
        try:
            with self.filesystem.open_input_stream(self._inside(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole."""
        target = self._inside(name)
        self.filesystem.create_dir(str(PurePosixPath(target).parent), recursive=True)
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(data)
            return
        temporary = f"{target}.{uuid.uuid4().hex}.tmp"
        with self.filesystem.open_output_stream(temporary) as stream:
            stream.write(data)
        self.filesystem.move(temporary, target)

    def append(self, name: str, line: str) -> None:
        """Add a line to a text file; object stores cannot append, so there the file is read and replaced."""
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            self.write(name, (self.read(name) or b"") + line.encode() + b"\n")
            return
        self.filesystem.create_dir(self.path, recursive=True)
        with self.filesystem.open_append_stream(self._inside(name)) as stream:
            stream.write(line.encode() + b"\n")

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        return bool(self.filesystem.get_file_info(self._inside(name)).type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(self._inside(name))

    def delete_folder(self, name: str) -> None:
        """Remove a folder and everything in it, if it is there."""
        if self.filesystem.get_file_info(self._inside(name)).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self._inside(name))

    def read_json(self, name: str) -> Any:
        """Content of a JSON file, or None when there is none."""
        data = self.read(name)
        return None if data is None else json.loads(data)

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file as a whole."""
        self.write(name, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())

    def read_record(self, name: str, kind: type[Read]) -> Read | None:
        """A JSON file as the record it holds, or None when there is none; ValueError when it is another."""
        value = self.read_json(name)
        return None if value is None else kind.from_json(value)

    def write_record(self, name: str, record: Record) -> None:
        """Replace a JSON file by a record."""
        self.write_json(name, record.to_json())

    def subfolder(self, name: str) -> "Folder":
        """A folder below this one."""
        return Folder(self.filesystem, self._inside(name))

    def folders(self) -> list[str]:
        """Names of the folders below this one, sorted."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return sorted(
            info.base_name
            for info in self.filesystem.get_file_info(selector)
            if info.type == fs.FileType.Directory
        )

    def _inside(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise ValueError(f"{name!r} is not a path inside the store")
        return f"{self.path}/{name}"


@dataclass(frozen=True)
class Store:
    """The store's root and the folders in it."""

    uri: str
    root: Folder

    @classmethod
    def open(cls, location: str | Path) -> "Store":
        """Open a local path or a URI such as s3://bucket/path; UsageError when it is no place for a store."""
        text = str(location)
        try:
            if "://" in text:
                filesystem, path = fs.FileSystem.from_uri(text)
                if not path.strip("/"):
                    raise ValueError("it names no folder")
                store = cls(text.rstrip("/"), Folder(filesystem, path.rstrip("/")))
            else:
                path = str(Path(text).expanduser().resolve())
                store = cls(path, Folder(fs.LocalFileSystem(), path))
            if store.local_path:
                _refuse_file(store.local_path)
        except (OSError, ValueError) as error:
            raise UsageError(redacted(f"cannot use {text!r} as storage: {error}")) from None
        return store

    @property
    def shown(self) -> str:
        """The location as people see it: without credentials."""
        return redacted(self.uri)

    @property
    def local_path(self) -> Path | None:
        """The root as a local path; None for a remote filesystem."""
        return Path(self.root.path) if isinstance(self.root.filesystem, fs.LocalFileSystem) else None

    def training(self, train_id: str) -> Folder:
        """Folder of a training."""
        return self.root.subfolder(paths.training_folder(train_id))

    def cell(self, cell_id: str) -> Folder:
        """Folder of a cell."""
        return self.root.subfolder(paths.cell_folder(cell_id))

    def sweep(self, name: str) -> Folder:
        """Folder of a sweep; only the driver writes here."""
        return self.root.subfolder(paths.sweep_folder(name))

    def references(self, data_name: str, extractor: str) -> Folder:
        """Folder of an extractor's weights and a data set's statistics under it."""
        return self.root.subfolder(paths.references_folder(data_name, extractor))

    def finished(self, names: Iterable[str]) -> set[str]:
        """Those of the given files that exist, asked for in one request."""
        wanted = list(names)
        infos = self.root.filesystem.get_file_info([f"{self.root.path}/{name}" for name in wanted])
        return {name for name, info in zip(wanted, infos, strict=True) if info.type == fs.FileType.File}


def _refuse_file(path: Path) -> None:
    """NotADirectoryError when a folder cannot be made at `path`, because a file lies there or above."""
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is a file")


def mark_done(folder: Folder, record: TrainingDone | CellDone) -> None:
    """Declare a unit's folder complete; an earlier failure is forgotten."""
    folder.delete(FAILED)
    folder.write_record(DONE, record.model_copy(update={"finished": now()}))


def mark_failed(folder: Folder, message: str) -> None:
    """Record why a unit failed."""
    folder.write_record(FAILED, UnitFailed(message=message, finished=now()))


def now() -> str:
    """The present time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
