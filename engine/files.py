"""Where the engine keeps its files, and the one format in which it keeps tensors."""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue
from safetensors.torch import load, save
from torch import Tensor

from engine.records.record import JsonObject


class Files(Protocol):
    """A folder of files, wherever it lies. A path is relative to it, with forward slashes."""

    def read(self, path: str) -> bytes | None:
        """Content of a file, or None when there is none."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Create or replace a file as a whole; readers never see half of it."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Files in a local folder, which is made when first written to."""

    root: Path

    def read(self, path: str) -> bytes | None:
        """Content of a file, or None when there is none."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        """Write beside the target under a name of this writer's own, then rename."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]) -> bytes:
    """Safetensors bytes with JSON metadata; the same content gives the same bytes."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata={"orch": json.dumps(metadata, sort_keys=True)})


def unpack(data: bytes) -> tuple[dict[str, Tensor], JsonObject]:
    """Tensors and metadata of `pack`'s bytes."""
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    return load(data), json.loads(header["__metadata__"]["orch"])
