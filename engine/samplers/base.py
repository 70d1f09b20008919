"""What every sampler is: a frozen configuration that knows its cost, its canonical form and how to run."""

from abc import abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.samplers.sigma_grid import IDDPM_MAX_STEPS, TABLE_GRIDS, sigma_grid

if TYPE_CHECKING:
    import torch

DenoiseFn = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(x with shape [batch, ...], sigma) -> x0_hat with the same shape."""

NoiseFn = Callable[[int], "torch.Tensor"]
"""step number -> standard normal noise with the shape of x; keyed, so calling it or not changes no other
step."""


@dataclass(frozen=True)
class Posterior:
    """What one evaluation says of x0 given x = x0 + sigma eps: the mean, and what is known of the
    variance."""

    x0_hat: "torch.Tensor"
    range_fraction: "torch.Tensor | None" = None
    """iDDPM's learned coordinate v of the reverse variance: -1 at beta_tilde, 1 at beta; not clamped."""
    x0_variance: "torch.Tensor | None" = None
    """Diagonal of Cov[x0 | x], broadcastable to x."""

    def of(self, images: slice) -> "Posterior":
        """That of some images of the batch."""
        more = (self.range_fraction, self.x0_variance)
        fraction, variance = (None if part is None else part.expand_as(self.x0_hat)[images] for part in more)
        return Posterior(self.x0_hat[images], fraction, variance)


class DenoiseRequest(NamedTuple):
    """A step's question: what is x0, given x at noise level sigma?"""

    x: "torch.Tensor"
    sigma: float
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


def answer_request(ask: DenoiseRequest, denoise: DenoiseFn) -> Posterior:
    """What a denoiser says to one question; one without `posterior(x, sigma)` says nothing of the
    variance."""
    posterior = getattr(denoise, "posterior", None) if ask.with_variance else None
    found: Posterior = posterior(ask.x, ask.sigma) if posterior else Posterior(denoise(ask.x, ask.sigma))
    return found


@dataclass(frozen=True)
class Canonical:
    """The one description shared by all configurations that are the same sampler, and why they are."""

    form: dict[str, Any]
    reasons: tuple[str, ...] = ()


class SamplerBase(Frozen):
    """Common fields and the questions every sampler answers."""

    num_steps: int = Field(ge=1, le=10_000)
    """Number of integration steps N."""
    guidance: float = Field(default=1.0, ge=0)
    """Classifier-free guidance w in x0_u + w (x0_c - x0_u): 1 is plain conditional sampling, 0
    unconditional."""

    if TYPE_CHECKING:
        # Every sampler has a field `kind: Literal["its_name"] = "its_name"`; what does not is no sampler but a
        # base of some, such as SigmaGridSampler.
        @property
        def kind(self) -> str:
            """The sampler's name in grids."""

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Times the sampler asks for x0_hat."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image: two for each x0_hat that is guided."""
        return self.evaluations * (1 if self.guidance in (0, 1) else 2)

    @property
    def deterministic(self) -> bool:
        """Whether the images follow from the latents alone."""
        return True

    @property
    @abstractmethod
    def label(self) -> str:
        """Short name for tables and figures; ends with `suffix`."""

    @property
    def suffix(self) -> str:
        """What a label says of the guidance: nothing when it is plain."""
        return "" if self.guidance == 1 else f" w {self.guidance:g}"

    @abstractmethod
    def canonical(self) -> Canonical:
        """The canonical form: equal for two configurations exactly when they perform the same actions.

        What a sampler does itself, passed through `guided`.
        """

    def guided(self, canonical: Canonical) -> Canonical:
        """`canonical` with the guidance in its form, unless it is plain."""
        if self.guidance == 1:
            return canonical
        return Canonical({**canonical.form, "guidance": self.guidance}, canonical.reasons)

    @abstractmethod
    def program(self) -> tuple[Step, ...]:
        """Everything the sampler does to its latents, in order."""

    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Turn standard normal `latents` [batch, ...] (float64) into images of the same shape.

        Noise is asked for by step number, so a step draws the same whatever was done before it. A sampler of
        a chain may need a `denoise` that also has `posterior(x, sigma) -> Posterior`; ValueError when it has
        not.
        """
        x = latents
        for action in self.program():
            step = action.run(x, noise)
            found = resume_step(step)
            while isinstance(found, DenoiseRequest):
                found = resume_step(step, answer_request(found, denoise))
            x = found
        return x


class SigmaGridSampler(SamplerBase):
    """A sampler that walks noise levels from the largest down to 0."""

    grid: Literal["edm", "vp", "ve", "iddpm"] = "edm"
    """Which noise levels: EDM's, set by the three fields below, or those of another column of P3's Table
    1."""
    sigma_min: float = Field(default=0.002, gt=0)
    """Smallest noise level before 0. Grid edm only, as the next two."""
    sigma_max: float = Field(default=80.0, gt=0)
    """Largest noise level, where sampling starts."""
    rho: float = Field(default=7.0, gt=0)
    """Warp of the noise levels: larger puts more steps near sigma_min."""

    @model_validator(mode="after")
    def _levels_fall(self) -> "SigmaGridSampler":
        if self.grid == "iddpm" and self.num_steps > IDDPM_MAX_STEPS:
            raise ValueError(
                f"grid iddpm has {IDDPM_MAX_STEPS} noise levels, fewer than num_steps {self.num_steps}"
            )
        if self.grid == "edm" and self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels t_0 > ... > t_{N-1} > t_N = 0."""
        if self.grid == "edm":
            return sigma_grid(self.num_steps, self.sigma_min, self.sigma_max, self.rho)
        return TABLE_GRIDS[self.grid](self.num_steps)

    @property
    def suffix(self) -> str:
        """What a label says of the grid and the guidance: nothing when they are EDM's and plain."""
        return ("" if self.grid == "edm" else f" {self.grid} grid") + super().suffix

    def grid_form(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Canonical form of the noise levels alone, and which fields do nothing to them.

        One or two noise levels above 0 are told by themselves: how more would be spread between them says
        nothing.
        """
        names, reasons = ("sigma_max", "sigma_min", "rho"), []
        if self.grid != "edm":
            fields = type(self).model_fields
            inert = [name for name in names if getattr(self, name) != fields[name].default]
            reasons += [f"grid {self.grid} is P3's table: {', '.join(inert)} do nothing"] if inert else []
        elif self.num_steps == 1:
            reasons.append("one step uses neither sigma_min nor rho")
        elif self.num_steps == 2:
            reasons.append("two steps go from sigma_max to sigma_min to 0: rho does nothing")
        if self.num_steps <= 2:
            ends = dict(zip(names, self.sigmas[:-1], strict=False))
            return {"num_steps": self.num_steps, **ends}, tuple(reasons)
        settings = (
            {name: getattr(self, name) for name in names} if self.grid == "edm" else {"grid": self.grid}
        )
        return {"num_steps": self.num_steps, **settings}, tuple(reasons)
