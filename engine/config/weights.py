"""Which average of the trained weights is sampled, and what a training keeps. Imports no torch."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from engine.config.train import SigmaRel, Train
from engine.conflicts import ConfigConflict
from engine.frozen import Frozen

POSTHOC_REACH = 2.0
"""Post-hoc averages may be this many times shorter than
the shortest tracked one, or longer than the longest."""


class EmaWeights(Frozen):
    """An exponential moving average of the weights."""

    kind: Literal["ema"] = "ema"
    halflife_kimg: float | None = Field(default=None, ge=0)
    """Half-life among those the training tracks; None is its first, `ema_halflife_kimg`."""

    @property
    def name(self) -> str:
        """Short name in files: "ema" for the first one, else "ema_halflife_50"."""
        return "ema" if self.halflife_kimg is None else f"ema_halflife_{self.halflife_kimg:g}"

    def label(self, train: Train) -> str:
        """Words for reports: "ema, half-life 500 kimg"."""
        halflife = train.ema_halflife_kimg if self.halflife_kimg is None else self.halflife_kimg
        return f"ema, half-life {halflife:g} kimg"


class PowerWeights(Frozen):
    """A power-function average of any width: reconstructed after training where it was not tracked (EDM2)."""

    kind: Literal["power"] = "power"
    sigma_rel: SigmaRel = 0.1
    """Width of the average's profile as a fraction of the images shown so far."""

    @property
    def name(self) -> str:
        """Short name in files: "power_0.05"."""
        return f"power_{self.sigma_rel:g}"

    def label(self, train: Train) -> str:
        """Words for reports: "power-function ema, width 0.07, post hoc"."""
        how = "" if self in tracked_weights(train) else ", post hoc"
        return f"power-function ema, width {self.sigma_rel:g}{how}"


class RawWeights(Frozen):
    """The trained weights themselves."""

    kind: Literal["raw"] = "raw"

    @property
    def name(self) -> str:
        """Short name in files."""
        return "raw"

    def label(self, train: Train) -> str:
        """Words for reports."""
        return "raw weights"


Weights = Annotated[EmaWeights | PowerWeights | RawWeights, Field(discriminator="kind")]
"""Any choice of weights, told apart by its `kind`."""


def tracked_weights(train: Train) -> tuple[EmaWeights | PowerWeights, ...]:
    """The averages that a training updates at every step, the primary one first."""
    extra = (EmaWeights(halflife_kimg=halflife) for halflife in train.ema_extra_halflives_kimg)
    return (EmaWeights(), *extra, *(PowerWeights(sigma_rel=width) for width in train.ema_power))


def canonical_weights(weights: Weights, train: Train) -> Weights:
    """The one form of all equal choices: the primary average's half-life may be written out or not."""
    primary = EmaWeights(halflife_kimg=train.ema_halflife_kimg)
    return EmaWeights() if weights == primary else weights


def check_weights(weights: Weights, train: Train) -> None:
    """Raise ValueError in words when the training does not keep what is asked for.

    Power-function averages that are not tracked are reconstructed from two or more that are, from half the
    shortest to twice the longest. What that leaves out falls fast with the number of snapshots: with 0.05 and
    0.10 tracked and 10 snapshots, 0.1 to 14 % of the profile's norm, with 40 at most 3 %.
    """
    if canonical_weights(weights, train) in tracked_weights(train):
        return
    match weights:
        case EmaWeights():
            kept = (train.ema_halflife_kimg, *train.ema_extra_halflives_kimg)
            known = ", ".join(f"{halflife:g}" for halflife in kept)
            raise ValueError(
                f"the training tracks half-lives of {known} kimg, not {weights.halflife_kimg:g}; "
                "add it to train.ema_extra_halflives_kimg"
            )
        case PowerWeights():
            check_posthoc(weights.sigma_rel, train.ema_power)
        case RawWeights():
            if not train.keep_raw:
                raise ValueError("the training keeps averaged weights only; set train.keep_raw: true")


def weights_conflicts(weights: Weights, train: Train) -> Iterator[ConfigConflict]:
    """What is asked for and not kept, with the fields that say so."""
    fields = {
        "ema": ("weights.halflife_kimg", "weights.kind", "train.ema_extra_halflives_kimg"),
        "power": ("weights.sigma_rel", "weights.kind", "train.ema_power"),
        "raw": ("weights.kind", "train.keep_raw"),
    }
    try:
        check_weights(weights, train)
    except ValueError as error:
        yield fields[weights.kind], str(error)


def check_posthoc(sigma_rel: float, tracked: tuple[float, ...]) -> None:
    """Raise ValueError in words when a width cannot be reconstructed from the tracked ones."""
    if len(tracked) < 2:
        raise ValueError(
            f"a power-function average of width {sigma_rel:g} needs two tracked widths to be reconstructed; "
            "set train.ema_power: [0.05, 0.1]"
        )
    low, high = min(tracked) / POSTHOC_REACH, max(tracked) * POSTHOC_REACH
    if not low <= sigma_rel <= high:
        raise ValueError(f"width {sigma_rel:g} is out of reach of train.ema_power: from {low:g} to {high:g}")
