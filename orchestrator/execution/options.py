"""What the command line adds to a grid file."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from orchestrator.storage.store import Store


@dataclass(frozen=True)
class Options:
    """What the command line adds to a grid file."""

    store: Store
    data_root: Path | None
    address: str | None
    console: Console
