"""What samplers are made of: steps that ask for x0_hat and are answered, whoever runs them.

A step does not call the network. It is a coroutine that yields what it wants to know, so whoever runs it may
answer one step at once, or gather what several want and ask the network for all of them together.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from engine.posterior import Posterior

if TYPE_CHECKING:
    import torch

DenoiseFn = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(x with shape [batch, ...], sigma) -> x0_hat with the same shape."""

NoiseFn = Callable[[int], "torch.Tensor"]
"""step number -> standard normal noise with the shape of x; keyed, so calling it or not changes no other
step."""


class DenoiseRequest(NamedTuple):
    """A step's question: what is x0, given x at noise level sigma?"""

    x: "torch.Tensor"
    """x0 + sigma eps, [batch, ...], float64."""
    sigma: float
    """Noise level, the same for all images."""
    with_variance: bool = False
    """Whether what is known of the variance is asked for too."""


StepCoroutine = Generator[DenoiseRequest, Posterior, "torch.Tensor"]
"""A step under way: it yields its questions one by one, is sent their answers, and returns the state after
the step."""


class Step(Protocol):
    """One action of a sampler. Two steps that compare equal do the same to the same state, whoever asks for
    them."""

    @property
    def evaluations(self) -> int:
        """Times the step asks for x0_hat."""

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """The step from state x. Whoever runs it decides who answers, and how many steps are answered
        together."""

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


def resume_step(step: StepCoroutine, answer: Posterior | None = None) -> "DenoiseRequest | torch.Tensor":
    """The next question of a step under way, or the state it ends in; `answer` is to its last question, if it
    asked."""
    try:
        return next(step) if answer is None else step.send(answer)
    except StopIteration as end:
        state: torch.Tensor = end.value
        return state


def answer_request(request: DenoiseRequest, denoise: DenoiseFn) -> Posterior:
    """What a denoiser says to one question; one without `posterior(x, sigma)` says nothing of the
    variance."""
    posterior = getattr(denoise, "posterior", None) if request.with_variance else None
    if posterior is None:
        return Posterior(denoise(request.x, request.sigma))
    found: Posterior = posterior(request.x, request.sigma)
    return found
