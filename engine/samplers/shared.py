"""Many samplers from the same latents in one pass: what any of them do alike is done once.

With the same latents and the same noise at the same step, two samplers whose programs begin alike are in the same state
there. So a whole grid of samplers is a tree of distinct beginnings, and each of its edges is one step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.samplers.base import DenoiseFn, NoiseFn, SamplerBase, Step

if TYPE_CHECKING:
    import torch

Emit = Callable[[int, "torch.Tensor"], None]
"""(number of a sampler, its images): called once for each sampler, as soon as its images are there."""


@dataclass
class Node:
    """A state that some programs share: the steps that lead on from it, and the programs that end in it."""

    children: dict[Step, "Node"] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat in all steps below, each counted once."""
        waiting, total = [self], 0
        while waiting:
            children = waiting.pop().children
            total += sum(step.evaluations for step in children)
            waiting += children.values()
        return total


def prefix_tree(programs: Iterable[tuple[int, Sequence[Step]]]) -> Node:
    """The tree of the distinct beginnings of numbered programs; each number is listed in the node where it ends."""
    root = Node()
    for number, program in programs:
        node = root
        for step in program:
            node = node.children.setdefault(step, Node())
        node.ends.append(number)
    return root


def guided_trees(samplers: Iterable[SamplerBase]) -> dict[float, Node]:
    """A tree for each guidance, over the samplers' places in the list.

    Samplers of different guidance see different denoisers, so they share nothing.
    """
    by_guidance: dict[float, list[tuple[int, Sequence[Step]]]] = {}
    for number, sampler in enumerate(samplers):
        by_guidance.setdefault(sampler.guidance, []).append((number, sampler.program()))
    return {guidance: prefix_tree(programs) for guidance, programs in by_guidance.items()}


def shared_evaluations(samplers: Iterable[SamplerBase]) -> int:
    """Network evaluations per image of all samplers together, two for each x0_hat that is guided."""
    trees = guided_trees(samplers)
    return sum(tree.evaluations * (1 if guidance in (0, 1) else 2) for guidance, tree in trees.items())


def sample_shared(tree: Node, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn, emit: Emit) -> None:
    """Walk the tree depth first from `latents`, handing on the images of each program as they are reached.

    Each state is kept until its last branch is taken, so at most one for every level with branches is alive. Bit for
    bit the images are those of each sampler alone.
    """
    waiting: list[tuple[Step, Node, torch.Tensor]] = []

    def arrive(node: Node, x: "torch.Tensor") -> None:
        for number in node.ends:
            emit(number, x)
        waiting.extend((step, child, x) for step, child in reversed(node.children.items()))

    arrive(tree, latents)
    while waiting:
        step, node, x = waiting.pop()
        arrive(node, step(x, denoise, noise))
