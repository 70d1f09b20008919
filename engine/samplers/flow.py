"""Flow matching's ODE, integrated in its own time from noise (t = 1) to data (t = 0).

The loop, in the symbols of companion text 004, with equal steps h = t_{i+1} - t_i < 0:

    x ~ N(0, I)
    for i in 0 .. N - 1:
        k_1 = u(x, t_i)
        Euler:  x += h k_1
        Heun:   k_2 = u(x + h k_1, t_{i+1})
                x += h (k_1 + k_2) / 2
        RK4:    k_2 = u(x + h k_1 / 2, t_i + h / 2)
                k_3 = u(x + h k_2 / 2, t_i + h / 2)
                k_4 = u(x + h k_3, t_{i+1})
                x += h (k_1 + 2 k_2 + 2 k_3 + k_4) / 6

The velocity of x_t = a x0 + b eps is u = a' x0_hat + b' eps_hat.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from engine.conflicts import ConfigConflict
from engine.process.processes import PathName
from engine.process.schedules import TERMINAL_SIGMA, NoiseRange
from engine.samplers.base import Canonical, NetworkFacts, SamplerBase
from engine.samplers.steps import DenoiseRequest, NoiseFn, Scale, Step, StepCoroutine
from engine.samplers.trained_levels import outside

if TYPE_CHECKING:
    import torch


class Method(NamedTuple):
    """An explicit Runge-Kutta method each of whose stages starts along the slope of the stage before."""

    nodes: tuple[float, ...]
    """Where in the step each slope is taken, 0 to 1."""
    weights: tuple[float, ...]
    """Share of each slope in the step."""


EULER = Method((0.0,), (1.0,))
HEUN = Method((0.0, 1.0), (1 / 2, 1 / 2))
RALSTON3 = Method((0.0, 1 / 2, 3 / 4), (2 / 9, 1 / 3, 4 / 9))
RK4 = Method((0.0, 1 / 2, 1 / 2, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


class Integrator(NamedTuple):
    """How the whole way is integrated."""

    name: str
    """As labels have it."""
    order: int
    """Order of convergence."""
    step: Method
    """Every step but the last."""
    last_step: Method
    """The last, which must not look at t = 0."""


INTEGRATORS = {
    "euler": Integrator("Euler", 1, EULER, EULER),
    "heun": Integrator("Heun", 2, HEUN, EULER),
    "rk4": Integrator("RK4", 4, RK4, RALSTON3),
}

if TYPE_CHECKING:
    IntegratorName = str
else:
    IntegratorName = Literal[tuple(INTEGRATORS)]


class Flow(SamplerBase):
    """dx_t / dt = u(x_t, t) in equal steps of t, with Euler's,
    Heun's or the classical Runge-Kutta method [004].

    At t = 0 the velocity is 0 / 0, so the last step uses a method that never looks there: Euler's instead of
    Heun's, as EDM does, and Ralston's third-order method instead of Runge-Kutta's. One order lower, but taken
    once: its error, h^p, is that of all the other steps together, so the order p of the whole stays.
    """

    kind: Literal["flow"] = "flow"
    method: IntegratorName = "euler"
    """Order 1, 2 or 4, with 1, 2 or 4 evaluations a step; on the last step 1, 1 or 3."""
    path: PathName = "linear"
    """linear: x_t = (1 - t) x0 + t eps; vp: x_t = cos(pi t / 2) x0 + sin(pi t / 2) eps.
    Any model can walk either."""
    sigma_max: float | None = Field(default=None, gt=0, lt=TERMINAL_SIGMA)
    """Noise level to start from; None starts from pure
    noise, or from the highest that the network was shown."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N for Euler, 2N - 1 for Heun, 4N - 1 for RK4."""
        chosen = INTEGRATORS[self.method]
        return (self.num_steps - 1) * len(chosen.step.nodes) + len(chosen.last_step.nodes)

    @property
    def order(self) -> int:
        """1, 2 or 4."""
        return INTEGRATORS[self.method].order

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"flow {INTEGRATORS[self.method].name}"

    @property
    def own_levels(self) -> NoiseRange:
        """Where it starts: its steps, equal in time, may end anywhere above 0."""
        start = TERMINAL_SIGMA if self.sigma_max is None else self.sigma_max
        return start, start

    @property
    def held_levels(self) -> NoiseRange:
        """Where it starts with a network that was shown no more."""
        start = TERMINAL_SIGMA if self.start_sigma is None else self.start_sigma
        return start, start

    @property
    def levels_note(self) -> str:
        """Where it starts with a network that was shown less than it would ask for; its steps, equal in time,
        end where they end."""
        asked = self.own_levels[1]
        start = self.held_levels[1]
        if start == asked:
            return ""
        high = "pure noise" if asked >= TERMINAL_SIGMA else f"{asked:.3g}"
        return f"starts at noise level {start:.3g}, lowered from {high} to what the network was shown [playbook 5.3]"

    @property
    def start_sigma(self) -> float | None:
        """Noise level it starts from; None is pure noise."""
        start = (
            self.own_levels[1]
            if self.trained_levels is None
            else min(self.own_levels[1], self.trained_levels[1])
        )
        return None if start >= TERMINAL_SIGMA else start

    def level_conflicts(self, network: NetworkFacts, place: str) -> Iterator[ConfigConflict]:
        """A start above what the network was shown."""
        if self.sigma_max is not None and not self.beyond_trained_levels:
            yield from outside(network, place, "sigma_max", self.sigma_max)

    def conflicts(self, network: NetworkFacts, consistency_steps: int | None) -> Iterator[ConfigConflict]:
        """A start at pure noise, where the network was not trained."""
        held = not self.beyond_trained_levels and network.trained_levels[1] < TERMINAL_SIGMA
        if self.sigma_max is None and not held and not network.knows_pure_noise:
            advice = (
                "the model was not trained there; set sigma_max to the largest noise level the model knows"
            )
            yield (
                ("sample.sigma_max", "sample.kind", "objective.kind"),
                f"a flow starts at pure noise and {advice}",
            )

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        path = "" if self.path == "linear" else f" {self.path} path"
        return f"FM-{INTEGRATORS[self.method].name} {self.num_steps}{path}{self.suffix}"

    @property
    def start_time(self) -> float:
        """t at the noise level it starts from; 1 for pure noise."""
        sigma = self.start_sigma
        if sigma is None:
            return 1.0
        if self.path == "linear":
            return sigma / (1 + sigma)
        return math.atan(sigma) * 2 / math.pi

    def canonical(self) -> Canonical:
        """Path, start, number of steps and method; a single step of Heun is one of Euler."""
        one_heun_step = self.num_steps == 1 and self.method == "heun"
        solver = "euler" if one_heun_step else self.method
        form = {"method": "flow", "solver": solver, "path": self.path, "num_steps": self.num_steps}
        start = {} if self.start_sigma is None else {"sigma_max": self.start_sigma}
        reasons = ("one Heun step to t = 0 is one Euler step",) if one_heun_step else ()
        return self.guided(Canonical({**form, **start}, reasons))

    def program(self) -> tuple[Step, ...]:
        """Equal steps from x_t = b(t) latents at the start time to t = 0."""
        start = self.start_time
        chosen = INTEGRATORS[self.method]
        times = [start * (1 - number / self.num_steps) for number in range(self.num_steps + 1)]
        steps: list[Step] = [Scale(path_at(self.path, start).b)]
        for t, t_next in pairwise(times):
            steps.append(FlowStep(t, t_next, chosen.last_step if t_next == 0 else chosen.step, self.path))
        return tuple(steps)


@dataclass(frozen=True)
class FlowStep:
    """One Runge-Kutta step of dx_t / dt = u."""

    t: float
    t_next: float
    method: Method
    path: PathName

    @property
    def evaluations(self) -> int:
        """One for each slope."""
        return len(self.method.nodes)

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x_t at t_next."""
        span = self.t_next - self.t
        slopes: list[torch.Tensor] = []
        for node in self.method.nodes:
            ahead = x + node * span * slopes[-1] if slopes else x
            slopes.append((yield from velocity(ahead, self.t + node * span, self.path)))
        return x + span * sum(w * slope for w, slope in zip(self.method.weights, slopes, strict=True))


class PathPoint(NamedTuple):
    """x_t = a x0 + b eps at one time, and the time derivatives of a and b."""

    a: float
    b: float
    da: float
    db: float


def path_at(path: PathName, t: float) -> PathPoint:
    """The path at time t in [0, 1]; its ends are exact."""
    if path == "linear":
        return PathPoint(1 - t, t, -1.0, 1.0)
    a, b = math.sin(math.pi / 2 * (1 - t)), math.sin(math.pi / 2 * t)
    return PathPoint(a, b, -math.pi / 2 * b, math.pi / 2 * a)


def velocity(x_t: "torch.Tensor", t: float, path: PathName) -> StepCoroutine:
    """u = a' x0_hat + b' eps_hat at t in (0, 1], where eps_hat = (x_t - a x0_hat) / b.

    The denoiser is asked at x_t / a with sigma = b / a.
    At pure noise, where a = 0, TERMINAL_SIGMA stands for infinity.
    """
    a, b, da, db = path_at(path, t)
    sigma = b / a if a * TERMINAL_SIGMA > b else TERMINAL_SIGMA
    posterior = yield DenoiseRequest(x_t * (sigma / b), sigma)
    return da * posterior.x0_hat + db * (x_t - a * posterior.x0_hat) / b
