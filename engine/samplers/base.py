"""What every sampler is: a frozen configuration that knows its cost, its canonical form and how to run.

Whoever wants to know something of a sampler asks it here; nobody looks at its class.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import Field

from engine.conflicts import ConfigConflict
from engine.frozen import Frozen
from engine.process.covariance import CovarianceName
from engine.process.schedules import NoiseRange
from engine.samplers.steps import (
    AnyStep,
    DenoiseFn,
    DenoiseRequest,
    NoiseFn,
    State,
    answer_request,
    begin_step,
    resume_step,
)
from engine.samplers.trained_levels import held_note

if TYPE_CHECKING:
    import torch

    from engine.samplers.ddpm import Ddpm


@dataclass(frozen=True)
class Canonical:
    """The one description shared by all configurations that are the same sampler, and why they are."""

    form: dict[str, Any]
    """JSON-able; part of a cell's identity."""
    reasons: tuple[str, ...] = ()
    """What did nothing or became another choice, in words for the plan."""


@dataclass(frozen=True)
class NetworkFacts:
    """What a sampler must know of the network it is used with, to say whether they go together."""

    objective: str
    """Kind of the objective that was trained last."""
    prediction_objective: str
    """Kind of the objective that says what the network predicts: not that of a head on top of it."""
    has_null_label: bool
    """Whether it also predicts without label, as guidance needs."""
    knows_pure_noise: bool
    """Whether it was shown pure noise and predicts something that is defined there."""
    learned_variance: bool
    """Whether it says where the reverse variance lies between beta_tilde and beta."""
    covariance_head: str
    """The covariance that its head gives, by the name that samplers have for it; empty without a head."""
    channels: int | None = None
    """Channels of its images; None where nobody says."""
    trained_levels: NoiseRange = (0.0, math.inf)
    """The noise levels it was shown."""


class Guiding(NamedTuple):
    """How classifier-free guidance mixes two predictions, and what that costs."""

    weight: float
    """w in x0_u + w (x0_c - x0_u)."""
    channels: int | None = None
    """Of so many channels, the first; None is all."""

    @property
    def evaluations(self) -> int:
        """Network evaluations for each x0_hat: one where only one prediction counts."""
        return 1 if self.weight in (0, 1) else 2


PLAIN = Guiding(1.0)
"""No guidance: the conditional prediction."""


class SamplerBase(Frozen):
    """Common fields and the questions every sampler answers.

    A sampler also has a field `kind: Literal["its_name"] = "its_name"`; what has none is a base of some.
    """

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """Own field -> the values that sweeps may give it; others need `off_playbook: true`."""

    num_steps: int = Field(ge=1, le=10_000)
    """Number of integration steps N."""
    guidance: float = Field(default=1.0, ge=0)
    """Classifier-free guidance w in x0_u + w (x0_c - x0_u):
    1 is plain conditional sampling, 0 unconditional."""
    guidance_channels: int | None = Field(default=None, ge=1)
    """Guide the first channels alone, the others being the conditional prediction's:
    3 of 4 as DiT's code does on latents. None guides all."""

    beyond_trained_levels: bool = False
    """Ask the network also at noise levels that it was not shown, where it
    is a guess. By default a sampler keeps to sigma_min = max(its own, the
    network's) and sigma_max = min(its own, the network's) [playbook 5.3]."""
    trained_levels: Annotated[NoiseRange, Field(strict=False)] | None = None
    """The lowest and highest noise level that the network was shown, where they hold the sampler back. Filled
    in when a grid is read: whatever a grid says here is replaced."""

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """The sampler's name in grids."""

    # What it costs.

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Network evaluations of what the sampler asks, where nothing is guided: one for each x0_hat."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image: two for each x0_hat that is guided."""
        return self.evaluations * self.guiding.evaluations

    @property
    def guiding(self) -> "Guiding":
        """How predictions are guided; the channels only where predictions are mixed."""
        return Guiding(self.guidance, None if self.guidance in (0, 1) else self.guidance_channels)

    # What it is.

    @property
    def deterministic(self) -> bool:
        """Whether the images follow from the latents alone, because no step adds noise."""
        return True

    @property
    def order(self) -> int | None:
        """Order of convergence p: the distance to the probability-flow ODE's endpoint falls as num_steps^-p.

        None where more steps do not lead there: noise is added, or x0_hat is clipped.
        """
        return None

    @property
    def family(self) -> str:
        """The solver's name in figures, the same for all its numbers of steps."""
        return self.kind

    @property
    @abstractmethod
    def label(self) -> str:
        """Short name for tables and figures; ends with `suffix`."""

    @property
    def suffix(self) -> str:
        """What a label says of the guidance: nothing when it is plain."""
        channels = "" if self.guiding.channels is None else f" on {self.guiding.channels} channels"
        return "" if self.guidance == 1 else f" w {self.guidance:g}{channels}"

    def as_ddpm(self) -> "Ddpm | None":
        """The DDPM sampler that does the same: what is measured of one is measured of the other.

        None where there is none, or where no step adds noise,
        which leaves a variational bound nothing to bound.
        """
        return None

    @abstractmethod
    def canonical(self) -> Canonical:
        """The canonical form: equal for two configurations exactly when they perform the same actions.

        What a sampler does itself, passed through `guided`.
        """

    def guided(self, canonical: Canonical) -> Canonical:
        """`canonical` with the guidance in its form, unless it is plain."""
        form = dict(canonical.form)
        reasons = canonical.reasons
        if self.guidance != 1:
            form["guidance"] = self.guidance
        if self.guiding.channels is not None:
            form["guidance_channels"] = self.guiding.channels
        elif self.guidance_channels is not None:
            reasons += (f"guidance {self.guidance:g} mixes nothing: guidance_channels does nothing",)
        return Canonical(form, reasons)

    # Where it asks.

    @property
    def own_levels(self) -> NoiseRange | None:
        """The lowest and highest noise level it would ask the network at by its own settings, whatever
        training showed.

        None where it cannot say: then nothing holds it back.
        """
        return None

    @property
    def held_levels(self) -> NoiseRange | None:
        """`own_levels` within `trained_levels`."""
        own = self.own_levels
        shown = self.trained_levels
        if own is None or shown is None:
            return own
        return max(own[0], shown[0]), min(own[1], shown[1])

    def within(self, shown: NoiseRange) -> Self:
        """The sampler as it is used with a network that was shown these noise levels [playbook 5.3].

        Itself where it asks at no other, and where `beyond_trained_levels` lets it.
        """
        own = self.own_levels
        free = self.beyond_trained_levels or own is None
        inside = own is not None and shown[0] <= own[0] and own[1] <= shown[1]
        held_by = None if free or inside else shown
        return self if held_by == self.trained_levels else self.model_copy(update={"trained_levels": held_by})

    @property
    def levels_note(self) -> str:
        """What the network's noise levels did to the sampler's, in words; empty where they did nothing."""
        own = self.own_levels
        held = self.held_levels
        return "" if own is None or held is None or own == held else held_note(own, held)

    def level_conflicts(self, network: NetworkFacts, place: str) -> Iterator[ConfigConflict]:
        """Noise levels written down that the network was not shown;
        `place` is the sampler's section of a grid."""
        yield from ()

    # What it needs of a network.

    @property
    def variance_needed(self) -> CovarianceName | None:
        """The reverse variance for which the network, or a measurement of it, must say more than x0_hat."""
        return None

    @property
    def variance_sigmas(self) -> tuple[float, ...]:
        """Noise levels, rising, at which a variance is to be measured before the sampler can run."""
        return ()

    @property
    def measures_own_variance(self) -> bool:
        """Whether its denoiser holds a measurement made for it alone, so that it joins no shared run."""
        return bool(self.variance_sigmas)

    def guidance_conflicts(self, network: NetworkFacts, place: str) -> Iterator[ConfigConflict]:
        """Why the network cannot be guided; `place` is the sampler's section of a grid, such as `sample`."""
        channels = self.guiding.channels
        if channels is not None and network.channels is not None and channels >= network.channels:
            reason = f"guides {channels} of {network.channels} channels: leave it out to guide all"
            yield (f"{place}.guidance_channels", "data.name"), f"guidance_channels {reason}"
        if self.guidance == 1 or network.has_null_label:
            return
        needs = "the model needs class_conditional: true and label_dropout above 0"
        fields = (f"{place}.guidance", "model.label_dropout", "model.class_conditional", "model.kind")
        yield fields, f"guidance mixes predictions with and without label: {needs}"

    def conflicts(self, network: NetworkFacts, consistency_steps: int | None) -> Iterator[ConfigConflict]:
        """Why the sampler cannot be the section `sample` of an experiment, guidance apart.

        `consistency_steps` is the number of steps of the
        sampler with which this one is to be compared, or None.
        """
        yield from ()

    # What it does.

    @abstractmethod
    def program(self) -> tuple[AnyStep, ...]:
        """Everything the sampler does to its latents, in order."""

    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Turn standard normal `latents` [batch, ...] (float64) into images of the same shape.

        Noise is asked for by step number, so a step adds the same whatever was
        done before it. A sampler of a chain may need a `denoise` that also has
        `posterior(x, sigma) -> Posterior`; ValueError when it has not.
        """
        state = State(latents)
        for action in self.program():
            step = begin_step(action, state, noise)
            found = resume_step(step)
            while isinstance(found, DenoiseRequest):
                found = resume_step(step, answer_request(found, denoise))
            state = found
        return state.x
