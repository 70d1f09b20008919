"""Flow matching's ODE, integrated in its own time from noise (t = 1) to data (t = 0)."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from engine.process.schedules import TERMINAL_SIGMA
from engine.samplers.base import Canonical, DenoiseRequest, NoiseFn, SamplerBase, Scale, Step, StepCoroutine

if TYPE_CHECKING:
    import torch

PathName = Literal["linear", "vp"]


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

METHODS = {"euler": (EULER, EULER), "heun": (HEUN, EULER), "rk4": (RK4, RALSTON3)}
"""The method of every step but the last, and that of the last."""


class Flow(SamplerBase):
    """dx_t / dt = u(x_t, t) in equal steps of t, with Euler's, Heun's or the classical Runge-Kutta method
    [004].

    At t = 0 the velocity is 0 / 0, so the last step uses a method that never looks there: Euler's instead of
    Heun's, as EDM does, and Ralston's third-order method instead of Runge-Kutta's. One order lower, but taken
    once: its error, h^p, is that of all the other steps together, so the order p of the whole stays.
    """

    kind: Literal["flow"] = "flow"
    method: Literal["euler", "heun", "rk4"] = "euler"
    """Order 1, 2 or 4, with 1, 2 or 4 evaluations a step; on the last step 1, 1 or 3."""
    path: PathName = "linear"
    """linear: x_t = (1 - t) x0 + t eps; vp: x_t = cos(pi t / 2) x0 + sin(pi t / 2) eps. Any model can walk
    either."""
    sigma_max: float | None = Field(default=None, gt=0, lt=TERMINAL_SIGMA)
    """Noise level to start from; None starts from pure noise, which only models trained on pure noise
    know."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N for Euler, 2N - 1 for Heun, 4N - 1 for RK4."""
        step, last_step = METHODS[self.method]
        return (self.num_steps - 1) * len(step.nodes) + len(last_step.nodes)

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        name = {"euler": "Euler", "heun": "Heun", "rk4": "RK4"}[self.method]
        path = "" if self.path == "linear" else f" {self.path} path"
        return f"FM-{name} {self.num_steps}{path}{self.suffix}"

    @property
    def start_time(self) -> float:
        """t at sigma_max; 1 without one."""
        if self.sigma_max is None:
            return 1.0
        if self.path == "linear":
            return self.sigma_max / (1 + self.sigma_max)
        return math.atan(self.sigma_max) * 2 / math.pi

    def canonical(self) -> Canonical:
        """Path, start, number of steps and method; a single step of Heun is one of Euler."""
        one_heun_step = self.num_steps == 1 and self.method == "heun"
        solver = "euler" if one_heun_step else self.method
        form = {"method": "flow", "solver": solver, "path": self.path, "num_steps": self.num_steps}
        start = {} if self.sigma_max is None else {"sigma_max": self.sigma_max}
        reasons = ("one Heun step to t = 0 is one Euler step",) if one_heun_step else ()
        return self.guided(Canonical({**form, **start}, reasons))

    def program(self) -> tuple[Step, ...]:
        """Equal steps from x_t = b(t) latents at the start time to t = 0."""
        start, (method, last_method) = self.start_time, METHODS[self.method]
        times = [start * (1 - number / self.num_steps) for number in range(self.num_steps + 1)]
        methods = [*[method] * (self.num_steps - 1), last_method]
        steps = (FlowStep(*pair, one, self.path) for pair, one in zip(pairwise(times), methods, strict=True))
        return (Scale(path_at(self.path, start).b), *steps)


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
        span, slopes = self.t_next - self.t, list["torch.Tensor"]()
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

    The denoiser is asked at x_t / a with sigma = b / a. At pure noise, where a = 0, TERMINAL_SIGMA stands for
    infinity.
    """
    a, b, da, db = path_at(path, t)
    sigma = b / a if a * TERMINAL_SIGMA > b else TERMINAL_SIGMA
    posterior = yield DenoiseRequest(x_t * (sigma / b), sigma)
    return da * posterior.x0_hat + db * (x_t - a * posterior.x0_hat) / b
