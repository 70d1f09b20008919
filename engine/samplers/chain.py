"""What DDPM and DDIM share: one walk down a subsequence
of a discrete chain, with any variance of its steps."""

import math
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from engine.conflicts import ConfigConflict
from engine.process.covariance import KNOWN, OF_HEADS, CovarianceName, ReverseStep, pixel_std
from engine.process.schedules import TERMINAL_SIGMA, NoiseRange, ScheduleName, alpha_bars, sigma_of, vp_sigmas
from engine.samplers.base import Canonical, NetworkFacts, SamplerBase
from engine.samplers.chain_step import MOST_PROBES, NEEDED, ChainStep, ClipName, no_limit_words
from engine.samplers.steps import Step
from engine.samplers.timesteps import (
    LISTED,
    SECTIONS,
    TauName,
    listed_timesteps,
    section_timesteps,
    step_count_reasons,
    timesteps,
    written_numbers,
)

Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
Timesteps = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]


class ChainSampler(SamplerBase):
    """A sampler that walks down the timesteps of a
    variance-preserving chain [P2 Eq. 12, 16; playbook 0.3]."""

    tau: TauName = "linear"
    """Timesteps to visit: linear and quadratic as P2 writes them, released_linear and
    released_quadratic as its code does; even, strided (`ddimN` of its scripts) and
    sections as P1's and DiT's code; even_one_based as P6's and Analytic-DPM's;
    trailing for schedules that end in pure noise; listed as `visit` says."""
    sections: Annotated[Counts | None, BeforeValidator(written_numbers)] = None
    """Of tau sections: steps in each of so many equal parts of the chain, the least noisy
    first, as a list or as P1's scripts write it ("10,15,20"). They add up to num_steps."""
    visit: Annotated[Timesteps | None, BeforeValidator(written_numbers)] = None
    """Of tau listed: the num_steps timesteps themselves, rising, as a list or as "0,400,999"."""
    schedule: ScheduleName = "linear"
    """Variance-preserving schedule that is walked; any trained model can be sampled on any of them."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the schedule."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last timestep is pure noise."""
    clip_pixels: float | None = Field(default=1.0, gt=0)
    """The step that lands on timestep 0 adds noise of at most this many grey
    levels on average: P6's and Analytic-DPM's code has 2 for DDPM on
    CelebA and linear-schedule CIFAR-10, 1 elsewhere. None is no limit."""
    clip_pixels_for: Literal["known_covariance", "every_covariance"] = "known_covariance"
    """Where clip_pixels acts. known_covariance: those that know Cov[x0 | x]; every_covariance: beta and the others
    too, as in Analytic-DPM's script, whose Table 2 has its baselines so."""
    probes: int = Field(default=100, ge=1, le=MOST_PROBES)
    """Of covariance direct: vectors of random signs M a step. Each takes a pass of the network
    forwards and one back, so that a step is 2 M evaluations. P6 needs 100 and more on CIFAR-10."""

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
        if self.reverse_variance == "direct" and self.guiding.evaluations > 1:
            raise ValueError(
                "covariance direct differentiates one prediction of the network: leave guidance at 1"
            )
        return self

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps visited, rising and without repeats."""
        return self.timesteps_at(self.num_steps)

    def timesteps_at(self, num_steps: int) -> tuple[int, ...]:
        """What its rule would visit in so many steps. ValueError where it has no such number of them."""
        shown = self.shown_timesteps
        if self.visit is not None:
            return self._chosen_of(num_steps, self.num_timesteps)
        return tuple(shown[index] for index in self._chosen_of(num_steps, len(shown)))

    def _chosen_of(self, num_steps: int, num_timesteps: int) -> tuple[int, ...]:
        """What its rule chooses of so many timesteps."""
        if self.tau not in (SECTIONS, LISTED):
            return timesteps(self.tau, num_steps, num_timesteps)
        if num_steps != self.num_steps:
            raise ValueError(
                f"tau {self.tau} says where {self.num_steps} steps are, and not where {num_steps}"
            )
        if self.visit is not None:
            return listed_timesteps(self.visit, num_timesteps)
        assert self.sections is not None, "checked when it was made"
        return section_timesteps(self.sections, num_timesteps)

    @property
    def shown_timesteps(self) -> range:
        """The timesteps among which tau chooses: all, or those whose noise levels the network was shown."""
        if self.trained_levels is None:
            return range(self.num_timesteps)
        low, high = self.trained_levels
        return range(bisect_left(self._sigmas, low), bisect_right(self._sigmas, high))

    @property
    def _sigmas(self) -> tuple[float, ...]:
        return vp_sigmas(self.schedule, self.num_timesteps, self.zero_terminal_snr)

    @property
    def own_levels(self) -> NoiseRange:
        """Noise levels of the first and last timestep that tau chooses of the whole chain."""
        chosen = self._chosen_of(self.num_steps, self.num_timesteps)
        return self._sigmas[chosen[0]], self._sigmas[chosen[-1]]

    @property
    def held_levels(self) -> NoiseRange:
        """Noise levels of the first and last timestep that it visits."""
        return self._sigmas[self.timesteps[0]], self._sigmas[self.timesteps[-1]]

    def level_conflicts(self, network: NetworkFacts, place: str) -> Iterator[ConfigConflict]:
        """Timesteps of one's own list, or too many of them, beyond what the network was shown."""
        held = self.within(network.trained_levels)
        if held.trained_levels is None:
            return
        num_shown = len(held.shown_timesteps)
        if self.visit is not None:
            reason = (
                f"visit has timesteps outside {held.shown_timesteps.start} .. {held.shown_timesteps.stop - 1}"
            )
            advice = (
                "whose noise levels the network was shown; leave them out or set beyond_trained_levels: true"
            )
            yield (f"{place}.visit", f"{place}.tau", f"{place}.kind"), f"{reason}, {advice} [playbook 5.3]"
        elif self.num_steps > num_shown:
            reason = f"the network was shown the noise levels of {num_shown} of the chain's timesteps"
            advice = "take fewer steps or set beyond_trained_levels: true"
            fields = (f"{place}.num_steps", f"{place}.kind")
            yield fields, f"{reason}, fewer than num_steps {self.num_steps}; {advice} [playbook 5.3]"

    @property
    def evaluations(self) -> int:
        """Network evaluations: one for each timestep visited,
        but 2 M with covariance direct where noise is added."""
        steps = len(self.timesteps)
        return steps if self.reverse_variance != "direct" else 2 * self.probes * (steps - 1) + 1

    @property
    def alpha_bars(self) -> tuple[float, ...]:
        """alpha_bar of each visited timestep, noisiest first, then 1;
        a zero is what TERMINAL_SIGMA stands for."""
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
        """A start where the network was not trained, more
        steps than timesteps, or a variance nobody knows."""
        if self.alpha_bars[0] == TERMINAL_SIGMA**-2 and not network.knows_pure_noise:
            advice = (
                "which the model was not trained on; set zero_terminal_snr: false, or visit earlier timesteps"
            )
            fields = ("sample.zero_terminal_snr", "sample.kind", "objective.kind")
            yield fields, f"the chain starts at zero signal-to-noise ratio, {advice}"
        if self.deterministic and consistency_steps is not None:
            yield from self.within(network.trained_levels)._consistency_conflicts(consistency_steps)
        yield from self._variance_conflicts(network)

    def _consistency_conflicts(self, num_steps: int) -> Iterator[ConfigConflict]:
        num_shown = len(self.shown_timesteps)
        if num_steps > num_shown:
            reason = f"no sampler makes {num_steps} steps of {num_shown} timesteps"
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
        needed = self.variance_needed
        if needed in OF_HEADS and network.covariance_head != needed:
            needs = f"needs the head that objective {needed} trains, not objective {network.objective}"
            yield ("sample.covariance", "objective.kind"), f"{needed} {needs}"

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
        reasons = list(
            step_count_reasons(self.tau, self.num_steps, len(self.timesteps), len(self.shown_timesteps))
        )
        if len(self.timesteps) == 1:
            form["eta"] = 0.0
            clip = "x0" if clip == "x0_and_eps" else clip
            if eta > 0 or covariance != "beta_tilde":
                reasons.append("a single step to x0 adds no noise: eta and covariance do nothing")
        elif covariance != "beta_tilde":
            form["covariance"] = covariance
        if form.get("covariance") == "direct":
            form["probes"] = self.probes
        elif self.probes != type(self).model_fields["probes"].default:
            reasons.append("probes act with covariance direct")
        known = form.get("covariance") in KNOWN and self.timesteps[0] == 0
        if known or self.pixel_limit(form["eta"], covariance) < math.inf:
            form["clip_pixels"] = self.clip_pixels
        elif self.clip_pixels != 1 or self.clip_pixels_for == "every_covariance":
            reasons.append(no_limit_words(self.clip_pixels_for))
        if clip != "none":
            form["clip"] = clip
        if self.zero_terminal_snr:
            form["zero_terminal_snr"] = True
        return self.guided(Canonical(form, tuple(reasons)))

    def pixel_limit(self, eta: float, covariance: CovarianceName) -> float:
        """Largest standard deviation of the noise that lands on timestep 0; infinity where nothing is cut."""
        if self.clip_pixels is None or self.timesteps[0] != 0 or len(self.timesteps) == 1:
            return math.inf
        if covariance not in KNOWN and self.clip_pixels_for == "known_covariance":
            return math.inf
        limit = pixel_std(self.clip_pixels)
        *_, before, last, _ = self.alpha_bars
        fixed = ReverseStep(before, last, eta).fixed_std(covariance)
        return limit if fixed is None or fixed > limit else math.inf

    def walk(self, *, eta: float, clip: ClipName, covariance: CovarianceName) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last lands
        on x0_hat and adds no noise, whatever the variance."""
        lowest = alpha_bars(self.schedule, self.num_timesteps, self.zero_terminal_snr)[0]
        pixel_limit = self.pixel_limit(eta, covariance)
        probes = self.probes if covariance == "direct" else 0
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
                ChainStep(
                    ReverseStep(alpha_bar, alpha_bar_next, eta), clip, covariance, limit, number, probes
                )
            )
        return tuple(steps)
