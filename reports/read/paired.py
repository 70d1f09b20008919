"""Differences between configurations on common latents, with intervals of sampling noise alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.stats import STANDARD_ERRORS, paired_error

LeftOut = Mapping[tuple[int, int], Sequence[float]]
"""(training seed, sampling seed) -> a distance's values with each block of images left out."""

NOISE = "95 % jackknife intervals, sampling noise only, paired on common latents"
"""What the interval of a gap says."""


@dataclass(frozen=True)
class Gap:
    """How much higher one configuration's distance is than another's; no ends where noise is unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """Whether it has an interval."""
        return self.low is not None

    @property
    def holds_zero(self) -> bool:
        """Whether the interval contains 0: sampling noise alone could make this gap."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def left_out(overview: Overview) -> dict[str, tuple[tuple[int, int], list[float]]]:
    """Cell id -> its seeds and its distance's values with a block left out, for the cells that have them."""
    results = overview.sweep.results
    rows = results[(results["metric"] == overview.distance) & results["jackknife"].fillna("").ne("")]
    columns = (rows[name] for name in ("cell_id", "train_seed", "sample_seed", "jackknife"))
    return {
        str(cell_id): ((int(train_seed), int(sample_seed)), json.loads(values))
        for cell_id, train_seed, sample_seed, values in zip(*columns, strict=True)
    }


def num_blocks(overview: Overview) -> int:
    """Blocks that the images of a cell were cut into; 0 where no cell has values with one left out."""
    return max((len(values) for _, values in left_out(overview).values()), default=0)


def gaps_to(overview: Overview, target: Configuration, others: Sequence[Configuration]) -> list[Gap]:
    """The gaps of others above `target`, over all their seeds."""
    known = left_out(overview)
    base = target.mean(overview.distance)
    # Common latents and noise make two samplers' errors alike; the gap is then
    # surer than either distance, which only pairing block by block shows.
    errors = [paired_error(_of(one, known), _of(target, known)) for one in others]
    return [
        _gap(one.mean(overview.distance) - base, error) for one, error in zip(others, errors, strict=True)
    ]


def _of(one: Configuration, known: Mapping[str, tuple[tuple[int, int], list[float]]]) -> LeftOut:
    """A configuration's values; nothing unless all of its cells have them."""
    return dict(known[cell_id] for cell_id in one.cell_ids) if set(one.cell_ids) <= known.keys() else {}


def _gap(value: float, error: float | None) -> Gap:
    if error is None:
        return Gap(value)
    return Gap(value, value - STANDARD_ERRORS * error, value + STANDARD_ERRORS * error)
