"""Many samplers from the same latents in one shared run: what any of them do alike is done once.

With the same latents and the same noise at the same step, two samplers whose
programs begin alike are in the same state there, x and history alike. So a whole
grid of samplers is a tree of distinct beginnings, and each of its edges is one step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from engine.posterior import Posterior
from engine.samplers.base import Guiding, SamplerBase
from engine.samplers.steps import (
    AnyStep,
    DenoiseRequest,
    NoiseFn,
    State,
    StateCoroutine,
    begin_step,
    history_kept,
    resume_step,
)

if TYPE_CHECKING:
    import torch

Emit = Callable[[int, "torch.Tensor"], None]
"""(number of a sampler, its images): called once for each sampler, as soon as its images are there."""

Answer = Callable[[Sequence[DenoiseRequest]], Sequence[Posterior]]
"""What is asked by steps that are under way together -> an answer to each."""

NOISES_KEPT = 8
"""Steps whose noise is kept, for each that is under way,
while neighbouring branches of a tree ask for it again."""


@dataclass
class Node:
    """A state that some programs share: the steps that lead on from it, and the programs that end in it."""

    children: dict[AnyStep, "Node"] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat in all steps below, each counted once."""
        total = 0
        to_visit = [self]
        while to_visit:
            children = to_visit.pop().children
            total += sum(step.evaluations for step in children)
            to_visit += children.values()
        return total

    def waiting_tensors(self, steps_per_batch: int = 1) -> int:
        """Tensors, x and histories, of states that wait at once while the tree is walked.

        Exactly for one step at a time: a node's state is given up when its last branch is taken, so that
        below that branch there is no more of it, below the others there is. With several steps under way
        a state of any level may wait, and of each level the largest is counted, which is the most.
        """
        return self._waiting_one_by_one() if steps_per_batch == 1 else self._waiting_on_every_level()

    def _waiting_one_by_one(self) -> int:
        most = 0
        to_visit = [(self, 1, 0)]
        while to_visit:
            node, tensors, waiting_above = to_visit.pop()
            most = max(most, waiting_above)
            for place, (step, child) in enumerate(node.children.items()):
                is_last = place == len(node.children) - 1
                waiting = waiting_above if is_last else waiting_above + tensors
                to_visit.append((child, 1 + history_kept(step), waiting))
        return most

    def _waiting_on_every_level(self) -> int:
        total = 0
        level = [(self, 1)]
        while branching := [(node, tensors) for node, tensors in level if node.children]:
            total += max(tensors for _, tensors in branching)
            level = []
            for node, _ in branching:
                level += [(child, 1 + history_kept(step)) for step, child in node.children.items()]
        return total

    @property
    def longest_history(self) -> int:
        """Tensors in the longest history that any step below leaves."""
        longest = 0
        to_visit = [self]
        while to_visit:
            children = to_visit.pop().children
            longest = max([longest, *map(history_kept, children)])
            to_visit += children.values()
        return longest


def prefix_tree(programs: Iterable[tuple[int, Sequence[AnyStep]]]) -> Node:
    """The tree of the distinct beginnings of numbered programs;
    each number is listed in the node where it ends."""
    root = Node()
    for number, program in programs:
        node = root
        for step in program:
            node = node.children.setdefault(step, Node())
        node.ends.append(number)
    return root


def guided_trees(samplers: Iterable[SamplerBase]) -> dict[Guiding, Node]:
    """A tree for each guidance, over the samplers' places in the list.

    Samplers of different guidance see different denoisers, so they share nothing.
    """
    by_guidance: dict[Guiding, list[tuple[int, Sequence[AnyStep]]]] = {}
    for number, sampler in enumerate(samplers):
        by_guidance.setdefault(sampler.guiding, []).append((number, sampler.program()))
    return {guidance: prefix_tree(programs) for guidance, programs in by_guidance.items()}


def shared_evaluations(samplers: Iterable[SamplerBase]) -> int:
    """Network evaluations per image of all samplers together, two for each x0_hat that is guided."""
    trees = guided_trees(samplers)
    return sum(tree.evaluations * guiding.evaluations for guiding, tree in trees.items())


def sample_shared(
    tree: Node,
    answer: Answer,
    latents: "torch.Tensor",
    noise: NoiseFn,
    emit: Emit,
    steps_per_batch: int = 1,
) -> None:
    """Walk the tree from `latents`, handing on the images of each program as they are reached.

    `steps_per_batch` steps are under way at a time, whatever their noise levels, and their questions are
    answered together; one that ends makes room for the next. At most so many states of every level wait,
    besides those under way. Bit for bit the images are those of each sampler alone.
    """
    Walk(answer, noise, emit, steps_per_batch).run(tree, latents)


@dataclass(order=True)
class Branch:
    """A step that can be taken. Of two, the one that sorts first is taken first."""

    minus_depth: int
    """Deepest first."""
    arrival: int
    """Among equally deep ones, the earliest first:
    it also keeps the order from looking at the fields below."""
    step: AnyStep = field(compare=False)
    end: Node = field(compare=False)
    """Where it leads."""
    state: State = field(compare=False)
    """The state it leaves from."""


class StepUnderWay(NamedTuple):
    """A step that has asked something and waits for the answer."""

    request: DenoiseRequest
    coroutine: StateCoroutine
    end: Node
    depth: int
    """Of the node where it ends."""


class Walk:
    """One walk over a tree: branches not yet taken, and steps under way.

    It goes deep first. A state must be kept until the last branch from it is taken, and going deep
    finishes the programs below one branch before the next is begun: so the states that wait are those
    along the path to where the walk is, one a level, and not a whole generation of the tree, which
    may be thousands. With several steps under way it is as if so many walkers did this side by side.

    That images are the same to the bit as from each sampler alone rests on four things. Steps that
    compare equal do the same arithmetic; states are never changed in place; noise is a function of
    the step's number and the image, not of when it is asked for; and the network sees a batch of
    one shape in which no image influences another, so it does not matter what stands beside it.
    """

    def __init__(self, answer: Answer, noise: NoiseFn, emit: Emit, steps_per_batch: int) -> None:
        self.answer = answer
        self.noise = noise
        self.emit = emit
        self.steps_per_batch = steps_per_batch
        self.waiting: list[Branch] = []  # a heap
        self.under_way: list[StepUnderWay] = []
        self.arrivals = count()

    def run(self, tree: Node, latents: "torch.Tensor") -> None:
        """All of it, from the root."""
        self._arrive(State(latents), tree, depth=0)
        while self.waiting or self.under_way:
            while self.waiting and len(self.under_way) < self.steps_per_batch:
                self._take_branch()
            self._answer_all()

    def _take_branch(self) -> None:
        """Begin the deepest step that waits. One that asks nothing is over at once."""
        branch = heappop(self.waiting)
        coroutine = begin_step(branch.step, branch.state, self.noise)
        self._resume(coroutine, branch.end, 1 - branch.minus_depth)

    def _answer_all(self) -> None:
        """Answer the questions of all steps under way together, and let each go on to its next, or end."""
        answered = self.under_way
        self.under_way = []
        posteriors = self.answer([one.request for one in answered])
        for one, posterior in zip(answered, posteriors, strict=True):
            self._resume(one.coroutine, one.end, one.depth, posterior)

    def _resume(
        self, coroutine: StateCoroutine, end: Node, depth: int, posterior: Posterior | None = None
    ) -> None:
        found = resume_step(coroutine, posterior)
        if isinstance(found, DenoiseRequest):
            self.under_way.append(StepUnderWay(found, coroutine, end, depth))
        else:
            self._arrive(found, end, depth)

    def _arrive(self, state: State, node: Node, depth: int) -> None:
        """Hand on the images of programs that end here, and put the branches that leave from here in line."""
        for number in node.ends:
            self.emit(number, state.x)
        for step, child in node.children.items():
            heappush(self.waiting, Branch(-depth, next(self.arrivals), step, child, state))
