"""What samplers are made of: steps that ask for x0_hat and are answered, whoever runs them.

A step does not call the network. It is a coroutine that yields what it wants to know, so whoever runs it may
answer one step at once, or gather what several want and ask the network for all of them together.

A `Step` needs the images under way and nothing else. A `HistoryStep` also looks at what earlier steps were
told, and leaves a history for the next. Whoever runs either kind carries a `State` and uses `begin_step`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

from engine.posterior import Posterior

if TYPE_CHECKING:
    import torch

DenoiseFn = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(x with shape [batch, ...], sigma) -> x0_hat with the same shape."""

NoiseFn = Callable[[int], "torch.Tensor"]
"""step number -> standard normal noise with the shape of x;
keyed, so calling it or not changes no other step."""


class DenoiseRequest(NamedTuple):
    """A step's question: what is x0, given x at noise level sigma?"""

    x: "torch.Tensor"
    """x0 + sigma eps, [batch, ...], float64."""
    sigma: float
    """Noise level, the same for all images."""
    with_variance: bool = False
    """Whether what is known of the variance is asked for too."""
    signs: "torch.Tensor | None" = None
    """Random signs v with the shape of x, where one estimate of the variance by them is asked for: sigma^2 times
    v grad_x(v . x0_hat), whose mean over v is the diagonal of Cov[x0 | x]."""

    @property
    def evaluations(self) -> int:
        """Network evaluations that an answer takes, where nothing is guided:
        a gradient counts as one more."""
        return 1 if self.signs is None else 2


StepCoroutine = Generator[DenoiseRequest, Posterior, "torch.Tensor"]
"""A step under way: it yields its questions one by one, is
sent their answers, and returns the state after the step."""


class Step(Protocol):
    """One action of a sampler. Two steps that compare equal
    do the same to the same state, whoever asks for them."""

    @property
    def evaluations(self) -> int:
        """Network evaluations of what the step asks, where nothing is guided: one for each x0_hat."""

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """The step from state x. Whoever runs it decides who
        answers, and how many steps are answered together."""

    def __hash__(self) -> int:
        """Equal steps have equal hashes."""


@dataclass(frozen=True)
class Scale:
    """Multiply the state: how unit latents become the noise that a sampler starts from."""

    factor: float
    evaluations: ClassVar[int] = 0

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """factor * x."""
        yield from ()  # asks nothing
        return x * self.factor


class State(NamedTuple):
    """What is carried from step to step."""

    x: "torch.Tensor"
    """The images under way, [batch, ...], float64."""
    history: "tuple[torch.Tensor, ...]" = ()
    """What the next step needs of evaluations before it, each of the shape of x;
    the step says what they are."""


StateCoroutine = Generator[DenoiseRequest, Posterior, State]
"""A step under way that returns the whole state after it."""


@dataclass(frozen=True)
class HistoryStep(ABC):
    """An action of a sampler that remembers. As with a `Step`, two that compare equal do the same.

    A state after it is one after equal steps, so two samplers share it only where x and all that is kept are
    equal: what is kept, and how much, must be told by fields. A `Step` may follow, and leaves no history.
    """

    history_kept: int
    """Tensors in the history that it leaves: no more than
    later steps look at, for whoever runs it keeps them."""
    evaluations: ClassVar[int] = 1

    @abstractmethod
    def run_on(self, state: State, noise: NoiseFn) -> StateCoroutine:
        """The step from a state that the step before it has left."""


AnyStep = Step | HistoryStep
"""What programs consist of."""


def begin_step(step: AnyStep, state: State, noise: NoiseFn) -> StateCoroutine:
    """Start a step of either kind; nothing is asked or computed yet."""
    if isinstance(step, HistoryStep):
        return step.run_on(state, noise)
    return _leave_no_history(step.run(state.x, noise))


def _leave_no_history(step: StepCoroutine) -> StateCoroutine:
    return State((yield from step))


def history_kept(step: AnyStep) -> int:
    """Tensors in the history that a step leaves."""
    return step.history_kept if isinstance(step, HistoryStep) else 0


After = TypeVar("After")
"""What a step under way returns: a state, or its x alone."""


def resume_step(
    step: Generator[DenoiseRequest, Posterior, After], answer: Posterior | None = None
) -> DenoiseRequest | After:
    """The next question of a step under way, or what it ends in;
    `answer` is to its last question, if it asked."""
    try:
        return next(step) if answer is None else step.send(answer)
    except StopIteration as end:
        after: After = end.value
        return after


def answer_request(request: DenoiseRequest, denoise: DenoiseFn) -> Posterior:
    """What a denoiser says to one question; one without `posterior(x, sigma)` says nothing of the
    variance. ValueError when it is asked for a gradient and has no `probe(x, sigma, signs)`."""
    if request.signs is not None:
        probe = getattr(denoise, "probe", None)
        if probe is None:
            raise ValueError(
                "covariance direct needs a denoiser that can be differentiated: probe(x, sigma, signs)"
            )
        probed: Posterior = probe(request.x, request.sigma, request.signs)
        return probed
    posterior = getattr(denoise, "posterior", None) if request.with_variance else None
    if posterior is None:
        return Posterior(denoise(request.x, request.sigma))
    found: Posterior = posterior(request.x, request.sigma)
    return found
