"""What DDPM and DDIM share: one walk down a subsequence of a discrete chain, with any variance of its
steps."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from engine.conflicts import ConfigConflict
from engine.posterior import Posterior
from engine.process.covariance import CovarianceName, ReverseStep, pixel_std
from engine.process.schedules import TERMINAL_SIGMA, ScheduleName, alpha_bars, sigma_of
from engine.samplers.base import Canonical, NetworkFacts, SamplerBase
from engine.samplers.steps import DenoiseRequest, NoiseFn, Step, StepCoroutine
from engine.samplers.timesteps import (
    LISTED,
    SECTIONS,
    TauName,
    listed_timesteps,
    section_counts,
    section_timesteps,
    timesteps,
)

if TYPE_CHECKING:
    import torch

ClipName = Literal["none", "x0", "x0_and_eps"]
"""none: as predicted; x0: x0_hat to [-1, 1], eps_hat as predicted; x0_and_eps: eps_hat follows the clipped
x0_hat."""

KNOWN = ("analytic", "ocm")
"""Covariances that know Cov[x0 | x]."""

NEEDED: dict[CovarianceName, str] = {
    "learned_range": "range_fraction",
    "analytic": "x0_variance",
    "ocm": "x0_variance",
}
"""The field of the posterior that a covariance needs; the others need none."""


Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
Timesteps = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]


class ChainSampler(SamplerBase):
    """A sampler that walks down the timesteps of a variance-preserving chain [P2 Eq. 12, 16; playbook
    0.3]."""

    tau: TauName = "linear"
    """Timesteps to visit: linear and quadratic as P2 writes them, released_linear and released_quadratic as
    its code does; even, strided (`ddimN` of its scripts) and sections as P1's and DiT's code; even_one_based as
    P6's and Analytic-DPM's; trailing for schedules that end in pure noise; listed as `visit` says."""
    sections: Annotated[Counts | None, BeforeValidator(section_counts)] = None
    """Of tau sections: steps in each of so many equal parts of the chain, the least noisy first, as a list or as
    P1's scripts write it ("10,15,20"). They add up to num_steps."""
    visit: Timesteps | None = None
    """Of tau listed: the num_steps timesteps themselves, rising."""
    schedule: ScheduleName = "linear"
    """Variance-preserving schedule that is walked; any trained model can be sampled on any of them."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the schedule."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last timestep is pure noise."""
    clip_pixels: float | None = Field(default=1.0, gt=0)
    """The step that lands on timestep 0 adds noise of at most this many grey levels on average: P6's and
    Analytic-DPM's code has 2 for DDPM on CelebA and linear-schedule CIFAR-10, 1 elsewhere. None is no limit."""
    clip_pixels_for: Literal["known_covariance", "every_covariance"] = "known_covariance"
    """Where clip_pixels acts. known_covariance: analytic and ocm; every_covariance: beta and the others too, as in
    Analytic-DPM's script, whose Table 2 has its baselines so."""

    @model_validator(mode="after")
    def _has_timesteps(self) -> "ChainSampler":
        for rule, name, numbers, count in (
            (SECTIONS, "sections", self.sections, sum(self.sections or ())),
            (LISTED, "visit", self.visit, len(self.visit or ())),
        ):
            if (self.tau == rule) != (numbers is not None):
                raise ValueError(f"tau {rule} and {name} need each other")
            if numbers is not None and count != self.num_steps:
                raise ValueError(f"{name} makes {count} steps, and num_steps is {self.num_steps}")
        self.timesteps_at(self.num_steps)
        return self

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps visited, rising and without repeats."""
        return self.timesteps_at(self.num_steps)

    def timesteps_at(self, num_steps: int) -> tuple[int, ...]:
        """What its rule would visit in so many steps. ValueError where it has no such number of them."""
        if self.tau not in (SECTIONS, LISTED):
            return timesteps(self.tau, num_steps, self.num_timesteps)
        if num_steps != self.num_steps:
            raise ValueError(
                f"tau {self.tau} says where {self.num_steps} steps are, and not where {num_steps}"
            )
        if self.visit is not None:
            return listed_timesteps(self.visit, self.num_timesteps)
        assert self.sections is not None, "checked when it was made"
        return section_timesteps(self.sections, self.num_timesteps)

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: the number of distinct timesteps."""
        return len(self.timesteps)

    @property
    def alpha_bars(self) -> tuple[float, ...]:
        """alpha_bar of each visited timestep, noisiest first, then 1; a zero is what TERMINAL_SIGMA stands
        for."""
        table = alpha_bars(self.schedule, self.num_timesteps, self.zero_terminal_snr)
        return (*(max(table[t], TERMINAL_SIGMA**-2) for t in reversed(self.timesteps)), 1.0)

    @property
    @abstractmethod
    def reverse_variance(self) -> CovarianceName:
        """Which variance the noise has that a step adds."""

    @property
    def variance_needed(self) -> CovarianceName | None:
        """The covariance, where x0_hat alone does not give it."""
        return self.reverse_variance if self.reverse_variance in NEEDED else None

    @property
    def variance_sigmas(self) -> tuple[float, ...]:
        """Every noise level visited, rising, where the variance is analytic."""
        if self.reverse_variance != "analytic":
            return ()
        return tuple(sorted(sigma_of(alpha_bar) for alpha_bar in self.alpha_bars[:-1]))

    def conflicts(self, network: NetworkFacts, consistency_steps: int | None) -> Iterator[ConfigConflict]:
        """A start where the network was not trained, more steps than timesteps, or a variance nobody
        knows."""
        if self.alpha_bars[0] == TERMINAL_SIGMA**-2 and not network.knows_pure_noise:
            advice = (
                "which the model was not trained on; set zero_terminal_snr: false, or visit earlier timesteps"
            )
            fields = ("sample.zero_terminal_snr", "sample.kind", "objective.kind")
            yield fields, f"the chain starts at zero signal-to-noise ratio, {advice}"
        if self.deterministic and consistency_steps is not None:
            yield from self._consistency_conflicts(consistency_steps)
        yield from self._variance_conflicts(network)

    def _consistency_conflicts(self, num_steps: int) -> Iterator[ConfigConflict]:
        if num_steps > self.num_timesteps:
            reason = f"no sampler makes {num_steps} steps of {self.num_timesteps} timesteps"
            yield ("eval.consistency.num_steps", "sample.num_timesteps"), reason
            return
        try:
            self.timesteps_at(num_steps)
        except ValueError as error:
            yield (
                ("eval.consistency.num_steps", "sample.tau"),
                f"consistency compares with more steps: {error}",
            )

    def _variance_conflicts(self, network: NetworkFacts) -> Iterator[ConfigConflict]:
        if self.variance_needed == "learned_range" and not network.learned_variance:
            trained = f"objective {network.prediction_objective} gives it no gradient"
            advice = "train with hybrid or vlb, or use beta, beta_tilde or analytic"
            yield (
                ("sample.covariance", "objective.kind", "start.objective.kind"),
                f"learned_range needs a variance the network has learned, and {trained}; {advice}",
            )
        if self.variance_needed == "ocm" and not network.covariance_head:
            needs = f"needs the head that objective ocm trains, not objective {network.objective}"
            yield ("sample.covariance", "objective.kind"), f"ocm {needs}"

    @property
    def suffix(self) -> str:
        """What a label says of the chain and the guidance: nothing where they are the default."""
        tau = "" if self.tau == "linear" else f" {self.tau}"
        if self.sections is not None:
            tau += " " + "+".join(map(str, self.sections))
        return tau + (" zero SNR" if self.zero_terminal_snr else "") + super().suffix

    def chain_form(self, eta: float, clip: ClipName, covariance: CovarianceName) -> Canonical:
        """Canonical form of the walk; what is as in P2's DDIM is left out of it."""
        form: dict[str, Any] = {
            "method": "ddim",
            "schedule": self.schedule,
            "num_timesteps": self.num_timesteps,
        }
        form |= {"timesteps": list(self.timesteps), "eta": eta}
        reasons = list(self._timestep_reasons())
        if self.evaluations == 1:
            form["eta"] = 0.0
            clip = "x0" if clip == "x0_and_eps" else clip
            if eta > 0 or covariance != "beta_tilde":
                reasons.append("a single step to x0 adds no noise: eta and covariance do nothing")
        elif covariance != "beta_tilde":
            form["covariance"] = covariance
        known = form.get("covariance") in KNOWN and self.timesteps[0] == 0
        if known or self.pixel_limit(form["eta"], covariance) < math.inf:
            form["clip_pixels"] = self.clip_pixels
        elif self.clip_pixels != 1 or self.clip_pixels_for == "every_covariance":
            reasons.append(_no_limit_words(self.clip_pixels_for))
        if clip != "none":
            form["clip"] = clip
        if self.zero_terminal_snr:
            form["zero_terminal_snr"] = True
        return self.guided(Canonical(form, tuple(reasons)))

    def _timestep_reasons(self) -> tuple[str, ...]:
        asked, visited = self.num_steps, self.evaluations
        if visited < asked:
            return (f"tau repeats timesteps near 0: {asked} steps visit {visited} timesteps",)
        if visited > asked:  # released_linear alone
            stride = self.num_timesteps // asked
            return (f"tau takes all timesteps {stride} apart: {asked} steps visit {visited} timesteps",)
        if asked <= 2 and self.tau in ("linear", "quadratic", "even"):
            return ("one or two steps visit the same timesteps under tau linear, quadratic and even",)
        return ()

    def pixel_limit(self, eta: float, covariance: CovarianceName) -> float:
        """Largest standard deviation of the noise that lands on timestep 0; infinity where nothing is cut."""
        if self.clip_pixels is None or self.timesteps[0] != 0 or self.evaluations == 1:
            return math.inf
        if covariance not in KNOWN and self.clip_pixels_for == "known_covariance":
            return math.inf
        limit = pixel_std(self.clip_pixels)
        *_, before, last, _ = self.alpha_bars
        fixed = ReverseStep(before, last, eta).fixed_std(covariance)
        return limit if fixed is None or fixed > limit else math.inf

    def walk(self, *, eta: float, clip: ClipName, covariance: CovarianceName) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last lands on x0_hat and adds no noise, whatever the
        variance."""
        lowest = alpha_bars(self.schedule, self.num_timesteps, self.zero_terminal_snr)[0]
        pixel_limit = self.pixel_limit(eta, covariance)
        steps = []
        for number, (alpha_bar, alpha_bar_next) in enumerate(pairwise(self.alpha_bars)):
            if alpha_bar_next == 1:
                last_clip: ClipName = "none" if clip == "none" else "x0"
                steps.append(
                    ChainStep(ReverseStep(alpha_bar, 1.0, 0.0), last_clip, "beta_tilde", math.inf, number)
                )
                break
            limit = pixel_limit if alpha_bar_next == lowest else math.inf
            steps.append(
                ChainStep(ReverseStep(alpha_bar, alpha_bar_next, eta), clip, covariance, limit, number)
            )
        return tuple(steps)


@dataclass(frozen=True)
class ChainStep:
    """One reverse step of a chain in its own, variance-preserving coordinates [P2 Eq. 12, 16]."""

    reverse: ReverseStep
    clip: ClipName
    covariance: CovarianceName
    limit: float
    """Largest standard deviation of the noise."""
    number: int
    """Number of the step, which keys its noise."""
    evaluations: ClassVar[int] = 1

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at the next timestep. ValueError when the answer does not say what the covariance needs."""
        alpha_bar = self.reverse.alpha_bar
        posterior = yield DenoiseRequest(
            x / math.sqrt(alpha_bar), sigma_of(alpha_bar), with_variance=self.covariance in NEEDED
        )
        require_variance(posterior, self.covariance)
        mean = self.reverse.mean(*clipped(self.clip, posterior.x0_hat, x, alpha_bar))
        if self.reverse.alpha_bar_next == 1:
            return mean
        std = self.reverse.noise_std(self.covariance, posterior, self.limit)
        return mean if isinstance(std, float) and std == 0 else mean + std * noise(self.number)


def _no_limit_words(clip_pixels_for: str) -> str:
    """Why clip_pixels does nothing, for a plan."""
    where = "a step that lands on timestep 0"
    if clip_pixels_for == "every_covariance":
        return f"clip_pixels acts on {where}, where its noise is larger"
    return f"clip_pixels acts with covariance analytic or ocm, on {where}"


def require_variance(posterior: Posterior, covariance: CovarianceName) -> None:
    """ValueError when a posterior does not say what a covariance needs."""
    needed = NEEDED.get(covariance)
    if needed and getattr(posterior, needed) is None:
        raise ValueError(f"covariance {covariance} needs a denoiser whose posterior(x, sigma) gives {needed}")


def clipped(
    clip: ClipName, x0_hat: "torch.Tensor", x: "torch.Tensor", alpha_bar: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(x0_hat, eps_hat) of x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, clipped as named."""
    kept = x0_hat if clip == "none" else x0_hat.clamp(-1, 1)
    source = kept if clip == "x0_and_eps" else x0_hat
    return kept, (x - math.sqrt(alpha_bar) * source) / math.sqrt(1 - alpha_bar)
