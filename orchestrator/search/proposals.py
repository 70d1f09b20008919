"""What a search has proposed: which points of the grid are part of its sweep."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from engine.records import paths
from engine.records.search import Proposal, SearchSpace, proposal_from_line, search_space
from orchestrator.errors import UsageError
from orchestrator.grid import Overrides, Point, Sweep, points_for, search_dimensions
from orchestrator.grid.points import merged
from orchestrator.storage.store import Folder


@dataclass(frozen=True)
class Proposals:
    """The discrete space a search chooses from, and what it has chosen so far.

    Both lie in the sweep's folder, known to `orch plan` and to a search that goes on after a stop.
    """

    sweep: Sweep
    folder: Folder

    def tried(self) -> list[Proposal]:
        """Proposals of earlier and this run, in order.

        Raises UsageError when they were made in another space;
        values added at an axis' end leave it the same.
        """
        lines = (self.folder.read(paths.SEARCH_TRIALS) or b"").decode().splitlines()
        if lines:
            self._refuse_another_space()
        return [proposal_from_line(line) for line in lines]

    def add(self, proposal: Mapping[str, int]) -> None:
        """Write a proposal down, before it runs."""
        # The space first: a proposal is numbers, which mean nothing without it.
        self.folder.write_json(paths.SEARCH_SPACE, self._space)
        self.folder.append(paths.SEARCH_TRIALS, json.dumps(proposal))

    def overrides(self, proposal: Mapping[str, int]) -> Overrides:
        """The fields a proposal changes."""
        return merged(options[proposal[name]] for name, options in search_dimensions(self.sweep))

    def points_of(self, proposal: Mapping[str, int]) -> tuple[Point, ...]:
        """The points of a proposal: the whole panel and all seeds."""
        return points_for(self.sweep, self.overrides(proposal))

    def points(self) -> tuple[Point, ...]:
        """Every point proposed so far, with the whole panel and all seeds; repeats are one."""
        distinct = {json.dumps(proposal, sort_keys=True): proposal for proposal in self.tried()}
        return tuple(point for proposal in distinct.values() for point in self.points_of(proposal))

    @property
    def _space(self) -> SearchSpace:
        """Every dimension's options."""
        return search_space(dict(search_dimensions(self.sweep)))

    def _refuse_another_space(self) -> None:
        """UsageError when proposals, which are numbers of options, would now mean other options."""
        now = self._space
        earlier = search_space(self.folder.read_json(paths.SEARCH_SPACE) or now)
        # Options added at the end of an axis leave the numbers of the others as they were.
        same_names = earlier.keys() == now.keys()
        if not same_names or any(now[name][: len(earlier[name])] != earlier[name] for name in now):
            raise UsageError(
                f"{self.sweep.path}: the search {self.sweep.grid.name} was begun over other axes; "
                "its proposals are numbers of their values. Give the sweep another name, "
                "or add values at the end of an axis"
            )
