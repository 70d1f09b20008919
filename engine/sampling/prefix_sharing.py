"""Many samplers from the same latents in one pass: what any of them do alike is done once.

With the same latents and the same noise at the same step, two samplers whose programs begin alike are in the
same state there. So a whole grid of samplers is a tree of distinct beginnings, and each of its edges is one
step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.steps import DenoiseRequest, NoiseFn, Step, StepCoroutine, resume_step

if TYPE_CHECKING:
    import torch

Emit = Callable[[int, "torch.Tensor"], None]
"""(number of a sampler, its images): called once for each sampler, as soon as its images are there."""

Answer = Callable[[Sequence[DenoiseRequest]], Sequence[Posterior]]
"""What is asked by steps that are under way together -> an answer to each."""

NOISES_KEPT = 8
"""Steps whose noise is kept, for each that is under way, while neighbouring branches of a tree ask for it
again."""


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

    def open_levels(self, room: int = 1) -> int:
        """Levels of which states wait at once while the tree is walked, at most; with room for one step
        exactly.

        Then it is walked depth first, and a state waits until its last branch is taken. Else those of any
        level may.
        """
        waiting, most = [(self, 0)], 0
        while waiting:
            node, above = waiting.pop()
            most = max(most, above)
            children = list(node.children.values())
            waiting += [(child, above + 1) for child in children[:-1]]
            waiting += [(child, above + (room > 1)) for child in children[-1:]]
        return most


def prefix_tree(programs: Iterable[tuple[int, Sequence[Step]]]) -> Node:
    """The tree of the distinct beginnings of numbered programs; each number is listed in the node where it
    ends."""
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


def sample_shared(
    tree: Node, answer: Answer, latents: "torch.Tensor", noise: NoiseFn, emit: Emit, room: int = 1
) -> None:
    """Walk the tree from `latents`, handing on the images of each program as they are reached.

    As many steps as there is `room` for are under way at a time, whatever their noise levels, and their
    questions are answered together; one that ends makes room for the next. The deepest states go first: with
    room for one step this is depth first. A state is kept until its last branch is taken. At most `room`
    states of every level wait, besides those under way: no more images than a full batch of them. Bit for bit
    the images are those of each sampler alone.
    """
    waiting: list[tuple[int, int, Step, Node, torch.Tensor]] = []
    asking: list[tuple[DenoiseRequest, StepCoroutine, Node, int]] = []
    order = count()

    def arrive(x: "torch.Tensor", node: Node, rank: int) -> None:  # rank: minus the depth
        for number in node.ends:
            emit(number, x)
        for action, child in node.children.items():
            heappush(waiting, (rank, next(order), action, child, x))

    def go_on(step: StepCoroutine, node: Node, rank: int, posterior: Posterior | None = None) -> None:
        found = resume_step(step, posterior)
        if isinstance(found, DenoiseRequest):
            asking.append((found, step, node, rank))
        else:
            arrive(found, node, rank)

    arrive(latents, tree, 0)
    while waiting or asking:
        while waiting and len(asking) < room:
            rank, _, action, node, x = heappop(waiting)
            go_on(action.run(x, noise), node, rank - 1)
        asked, asking = asking, []
        for (_, step, node, rank), posterior in zip(asked, answer([ask for ask, *_ in asked]), strict=True):
            go_on(step, node, rank, posterior)
