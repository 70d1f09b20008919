"""What a search has proposed: which points of the grid are part of its sweep."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.grid import Point, Sweep, points_for, search_dimensions
from orchestrator.store import Folder

TRIALS = "search.jsonl"


@dataclass(frozen=True)
class Proposals:
    """The discrete space a search draws from, and what it has drawn so far."""

    sweep: Sweep
    folder: Folder

    def tried(self) -> list[dict[str, int]]:
        """Proposals of earlier and this run, in order: dimension -> number of the option."""
        lines = (self.folder.read(TRIALS) or b"").decode().splitlines()
        return [json.loads(line) for line in lines]

    def overrides(self, proposal: Mapping[str, int]) -> dict[str, Any]:
        """The fields a proposal changes."""
        chosen = (options[proposal[name]] for name, options in search_dimensions(self.sweep))
        return {field: value for option in chosen for field, value in option.items()}

    def points(self) -> tuple[Point, ...]:
        """Every point proposed so far, with the whole panel and all seeds; repeats are one."""
        distinct = {json.dumps(proposal, sort_keys=True): proposal for proposal in self.tried()}
        return tuple(
            point for proposal in distinct.values() for point in points_for(self.sweep, self.overrides(proposal))
        )
