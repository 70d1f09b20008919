"""What a search has proposed: which points of the grid are part of its sweep."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.grid import Point, Sweep, points_for, search_dimensions
from orchestrator.grid.points import merged
from orchestrator.storage.store import Folder

TRIALS = "search.jsonl"
SPACE = "search_space.json"


@dataclass(frozen=True)
class Proposals:
    """The discrete space a search draws from, and what it has drawn so far."""

    sweep: Sweep
    folder: Folder

    def tried(self) -> list[dict[str, int]]:
        """Proposals of earlier and this run, in order: dimension -> number of the option.

        Raises UsageError when they were made in another space. Values added at the end of an axis leave it
        the same.
        """
        lines = (self.folder.read(TRIALS) or b"").decode().splitlines()
        if lines:
            self._check_space()
        return [json.loads(line) for line in lines]

    def add(self, proposal: Mapping[str, int]) -> None:
        """Write a proposal down, before it runs."""
        self.folder.write_json(SPACE, self._space)
        self.folder.append(TRIALS, json.dumps(proposal))

    @property
    def _space(self) -> dict[str, list[dict[str, Any]]]:
        space: dict[str, list[dict[str, Any]]] = json.loads(json.dumps(dict(search_dimensions(self.sweep))))
        return space

    def _check_space(self) -> None:
        earlier, now = self.folder.read_json(SPACE) or self._space, self._space
        same = earlier.keys() == now.keys() and all(
            now[name][: len(earlier[name])] == earlier[name] for name in now
        )
        if not same:
            raise UsageError(
                f"{self.sweep.path}: the search {self.sweep.grid.name} was begun over other axes; its proposals are "
                "numbers of their values. Give the sweep another name, or add values at the end of an axis"
            )

    def overrides(self, proposal: Mapping[str, int]) -> dict[str, Any]:
        """The fields a proposal changes."""
        return merged(options[proposal[name]] for name, options in search_dimensions(self.sweep))

    def points(self) -> tuple[Point, ...]:
        """Every point proposed so far, with the whole panel and all seeds; repeats are one."""
        distinct = {json.dumps(proposal, sort_keys=True): proposal for proposal in self.tried()}
        return tuple(
            point
            for proposal in distinct.values()
            for point in points_for(self.sweep, self.overrides(proposal))
        )
