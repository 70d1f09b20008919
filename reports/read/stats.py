"""Means over seeds and how sure they are. The unit is the training seed: resampling is no replication."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

LEVEL = 0.95
SEEDS_FOR_T = 3
SEEDS_FOR_BOOTSTRAP = 10
RESAMPLES = 10_000

RETRAINING_GAP = 0.013
"""Smaller relative gaps are inconclusive [arXiv 2606.20536: retraining moves FID by 1-2 %]."""

STANDARD_ERRORS = 2.262
"""Half width of a 95 % interval in jackknife standard errors: Student's t with 9 degrees of freedom."""

Key = TypeVar("Key", bound=Hashable)
Better = Literal["lower", "higher"]
Verdict = Literal["clear", "overlap", "too close", "unreplicated"]


@dataclass(frozen=True)
class Estimate:
    """A mean over training seeds, with an interval when there are at least three of them."""

    by_seed: Mapping[int, float]
    """Training seed -> mean over its sampling seeds."""
    mean: float
    std: float | None
    """Sample standard deviation over training seeds."""
    low: float | None
    high: float | None
    samplings: int
    """Largest number of sampling seeds of a training."""
    lowest: float
    """The lowest of a training's sampling seeds, averaged over trainings; EDM reports it of three [P3]."""
    sampling_std: float | None
    """Standard deviation over a training's sampling seeds, pooled over trainings: sampling noise alone."""

    @property
    def seeds(self) -> int:
        """Number of training seeds."""
        return len(self.by_seed)

    @property
    def label(self) -> str:
        """What the spread of this number says, for captions."""
        return seeds_label(self.seeds, self.samplings)


def seeds_label(seeds: int, samplings: int) -> str:
    """What a spread over this many training and sampling seeds says."""
    if seeds >= SEEDS_FOR_BOOTSTRAP:
        return f"mean [95% bootstrap interval] over {seeds} training seeds"
    if seeds >= SEEDS_FOR_T:
        return f"mean [95% t-interval] over {seeds} training seeds"
    if seeds == 2:
        return "mean of 2 training seeds: too few for an interval"
    if samplings > 1:
        return f"1 training seed, {samplings} sampling seeds: sampling noise only, no interval"
    return "1 seed: no interval"


def estimate(values: Mapping[int, Sequence[float]]) -> Estimate:
    """Estimate from training seed -> values over sampling seeds (each non-empty)."""
    by_seed = {seed: float(np.mean(values[seed])) for seed in sorted(values)}
    means = np.array(list(by_seed.values()))
    samplings = max(len(samples) for samples in values.values())
    std = float(np.std(means, ddof=1)) if len(means) > 1 and np.isfinite(means).all() else None
    low, high = interval(means)
    lowest = float(np.mean([np.min(samples) for samples in values.values()]))
    return Estimate(
        by_seed, float(means.mean()), std, low, high, samplings, lowest, pooled_std(values.values())
    )


def pooled_std(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation within groups of values; None unless all are finite and some group has two."""
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    freedom = sum(len(group) - 1 for group in arrays)
    if freedom == 0 or not all(np.isfinite(group).all() for group in arrays):
        return None
    return math.sqrt(sum(float(np.square(group - group.mean()).sum()) for group in arrays) / freedom)


def interval(means: np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of a mean: none below 3 values, Student's t up to 9, percentile bootstrap from 10."""
    count = len(means)
    if count < SEEDS_FOR_T or not np.isfinite(means).all():
        return None, None
    if count < SEEDS_FOR_BOOTSTRAP:
        half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * means.std(ddof=1) / math.sqrt(count)
        return float(means.mean() - half), float(means.mean() + half)
    # With fewer values resampling them understates the spread; from ten on it needs no normal distribution.
    picks = np.random.default_rng(0).integers(0, count, size=(RESAMPLES, count))
    low, high = np.quantile(means[picks].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def best(estimates: Mapping[Key, Estimate], better: Better) -> Key | None:
    """Key of the best finite mean; the first one wins a tie; None when nothing is finite."""
    finite = {key: value.mean for key, value in estimates.items() if math.isfinite(value.mean)}
    if not finite:
        return None
    return (min if better == "lower" else max)(finite, key=lambda key: finite[key])


def difference(one: Estimate, other: Estimate) -> Estimate | None:
    """one - other, paired by training seed over the seeds both have; None when they share none."""
    shared = [seed for seed in one.by_seed if seed in other.by_seed]
    if not shared:
        return None
    return estimate({seed: [one.by_seed[seed] - other.by_seed[seed]] for seed in shared})


def paired_error(one: Mapping[Key, Sequence[float]], other: Mapping[Key, Sequence[float]]) -> float | None:
    """Standard error, of sampling noise alone, of two means' difference: a delete-a-block jackknife.

    Each maps seeds to a distance's values with each of K blocks of images left out. Block k is of the same
    latents in both, so the values are subtracted block by block. None unless both have the same seeds and
    numbers of blocks.
    """
    lengths = {len(values) for values in (*one.values(), *other.values())}
    if one.keys() != other.keys() or len(lengths) != 1:
        return None
    # A distance of n images is no mean over them, so its noise has no formula; leaving out blocks of
    # images shows it. Leaving out one of K blocks moves a mean K - 1 times less than that block lies off
    # it, so the factor is (K - 1) / K where that of the blocks' own values would be 1 / (K (K - 1)).
    gaps = np.mean([np.subtract(one[seeds], other[seeds]) for seeds in one], axis=0)
    count = len(gaps)
    return math.sqrt((count - 1) / count * float(np.square(gaps - gaps.mean()).sum()))


def verdict(one: Estimate, other: Estimate) -> Verdict:
    """Whether the seeds tell two apart: "overlap" when the interval of their difference holds 0."""
    # Even seeds that agree do not make a small gap count: another training moves the metric by as much.
    gap = difference(one, other)
    if abs(one.mean - other.mean) < RETRAINING_GAP * abs(other.mean):
        return "too close"
    if gap is None or gap.low is None or gap.high is None:
        return "unreplicated"
    return "overlap" if gap.low <= 0 <= gap.high else "clear"
