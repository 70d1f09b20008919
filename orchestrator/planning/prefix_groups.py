"""Which cells share a run: those of one model and protocol, whose samplers do part of their work alike.

All cells of one snapshot start from the same latents and take the same noise step by step, so samplers that
have acted alike up to a step are in the same state there. Their programs form a tree of common prefixes, and
a shared run walks each edge of it once.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from engine.data.registry import DATASETS
from engine.sampling.prefix_sharing import guided_trees, shared_evaluations
from orchestrator.planning.cell import Cell
from orchestrator.planning.identity import canonical_json
from orchestrator.planning.likelihood_cost import bound_evaluations, shared_model_evaluations

Item = TypeVar("Item")

WORTH_SHARING = 0.9
"""Cells share a run when that takes at most this part of the network evaluations of sampling each alone."""


@dataclass(frozen=True)
class PrefixGroup:
    """Cells that sample the same weights from the same latents at the same batch shape."""

    cells: tuple[Cell, ...]
    compared: frozenset[str] = frozenset()
    """Samplers whose images of many steps exist already: an earlier part of the group was compared."""
    continued: bool = False
    """Whether a part of the group came before, and with it what its cells share."""

    @cached_property
    def alone(self) -> int:
        """Network evaluations per image when each cell is sampled alone."""
        return sum(cell.experiment.sample.nfe for cell in self.cells)

    @cached_property
    def together(self) -> int:
        """The same in one shared run."""
        return shared_evaluations(cell.experiment.sample for cell in self.cells)

    @property
    def shares(self) -> bool:
        """Whether a shared run is worth it."""
        return len(self.cells) > 1 and self.together <= WORTH_SHARING * self.alone

    @property
    def per_image(self) -> int:
        """Network evaluations per image, sampled in the cheaper way."""
        return self.together if self.shares else self.alone

    @property
    def cell_bytes(self) -> int:
        """Bytes of the images of one cell, uint8."""
        experiment = self.cells[0].experiment
        info = DATASETS[experiment.data.name]
        return experiment.eval.num_samples * info.channels * info.resolution**2

    @property
    def spooled_bytes(self) -> int:
        """Bytes of images that wait on disk to be measured; a cell that is sampled alone keeps none."""
        return len(self.cells) * self.cell_bytes if self.shares else 0

    @property
    def num_batches(self) -> int:
        """Batches of sample indices."""
        protocol = self.cells[0].experiment.eval
        return -(-protocol.num_samples // protocol.batch_size)

    @property
    def evaluations(self) -> int:
        """Images times network evaluations of the group, the last batch padded, in the cheaper way."""
        images = self.num_batches * self.cells[0].experiment.eval.batch_size
        return images * self.per_image + self._reference_evaluations + self._model_evaluations

    @property
    def _model_evaluations(self) -> int:
        """Of what is measured without images."""
        samplers = [cell.experiment.sample for cell in self.cells]
        protocol = self.cells[0].experiment.eval
        shared = 0 if self.continued else shared_model_evaluations(samplers, protocol)
        return bound_evaluations(samplers, protocol) + shared

    @property
    def _reference_evaluations(self) -> int:
        """Of the images at many steps with which deterministic cells are compared."""
        protocol = self.cells[0].experiment.eval
        rule = protocol.consistency
        if rule is None:
            return 0
        new = [nfe for sampler, nfe in self._references.items() if sampler not in self.compared]
        batches = -(-min(rule.num_samples, protocol.num_samples) // protocol.batch_size)
        return batches * protocol.batch_size * sum(new)

    @cached_property
    def _references(self) -> dict[str, int]:
        """The many-step samplers that deterministic cells are compared with, and what each costs."""
        rule = self.cells[0].experiment.eval.consistency
        if rule is None:
            return {}
        deterministic = (
            cell.experiment.sample for cell in self.cells if cell.experiment.sample.deterministic
        )
        many = (sampler.model_copy(update={"num_steps": rule.num_steps}) for sampler in deterministic)
        return {canonical_json(sampler.canonical().form): sampler.nfe for sampler in many}

    def cut(self, max_cells: int) -> list["PrefixGroup"]:
        """The group in the fewest, nearly equal parts of at most so many cells, in the tree's order.

        What the two cells at a cut begin alike is done on both sides of it, and nothing else is done twice: a
        cut costs at most one cell's evaluations.
        """
        if len(self.cells) <= max_cells:
            return [self]
        parts: list[PrefixGroup] = []
        # In the tree's order neighbours have the longest beginnings in
        # common, so only the path from the root to one cut is walked twice.
        compared = self.compared
        num_parts = -(-len(self.cells) // max_cells)  # rounded up
        for cells in _even_parts(in_tree_order(self.cells), num_parts):
            part = PrefixGroup(cells, compared, continued=bool(parts))
            compared |= part._references.keys()
            parts.append(part)
        return parts

    def shared_runs(self, workers: int) -> list[tuple[tuple[Cell, ...], tuple[int, ...]]]:
        """Work for `workers` workers: cells, and the batches of sample indices to sample for them.

        Batches are shared out first, because every one costs the whole tree once. Where they are fewer than
        workers, the samplers are cut too, in the tree's order, so that little is done twice.
        """
        blocks = _even_parts(range(self.num_batches), workers)
        cuts = _even_parts(in_tree_order(self.cells), workers // len(blocks))
        return [(cells, block) for block in blocks for cells in cuts]


def evaluations_alone(cell: Cell) -> int:
    """Images times network evaluations of one cell that is sampled alone, the last batch padded."""
    group = PrefixGroup((cell,))
    return group.num_batches * cell.experiment.eval.batch_size * group.alone


def in_tree_order(cells: Sequence[Cell]) -> list[Cell]:
    """Cells so that neighbours share the longest beginnings."""
    numbers: list[int] = []
    for tree in guided_trees(cell.experiment.sample for cell in cells).values():
        to_visit = [tree]
        while to_visit:  # depth first, children in their order
            node = to_visit.pop()
            numbers += node.ends
            to_visit += reversed(node.children.values())
    return [cells[number] for number in numbers]


def _even_parts(items: Sequence[Item], count: int) -> list[tuple[Item, ...]]:
    """The items in order, cut into at most `count` parts of nearly equal length."""
    count = max(1, min(count, len(items)))
    ends = [round(number * len(items) / count) for number in range(count + 1)]
    return [tuple(items[first:last]) for first, last in pairwise(ends)]


def prefix_groups(cells: Iterable[Cell]) -> list[PrefixGroup]:
    """Cells by what they have in common, in order. A variance measured per sampler shares nothing."""
    found: dict[tuple[Hashable, ...], list[Cell]] = {}
    for cell in cells:
        experiment = cell.experiment
        own = cell.cell_id if experiment.sample.measures_own_variance else ""
        training = cell.training
        key = (training.train_id, training.selection_id, experiment.weights, experiment.eval, own)
        found.setdefault(key, []).append(cell)
    return [PrefixGroup(tuple(members)) for members in found.values()]
