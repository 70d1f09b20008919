"""What a sweep does not show. Never empty."""

import json
import math

from engine.records.protocol import FULL_SAMPLES
from reports.document.checks import missing_cells
from reports.formatting import axis_label, counted, listed
from reports.read.overfitting import by_training
from reports.read.overview import Overview

MANY_CONFIGURATIONS = 20
"""From here on the best of all is noticeably better than it would be on new samples."""

LISTED_TRAININGS = 4
"""Trainings that overfit and have a sentence of their own."""


def limits(overview: Overview) -> tuple[str, ...]:
    """Sentences, the heaviest first."""
    return (
        *_of_the_grid(overview),
        *_of_the_protocol(overview),
        *_of_the_trainings(overview),
        "Seconds per image were taken while other work ran beside it: an indication, no benchmark.",
        "Images repeat bit for bit on one kind of device; another kind may round differently.",
    )


def _of_the_grid(overview: Overview) -> list[str]:
    """How far the sweep is from what the papers did."""
    manifest = overview.sweep.manifest
    found: list[str] = []
    if is_smoke(overview):
        found.append(
            "A smoke run: it shows that the machinery works and says nothing about the published sizes."
        )
    for text in manifest.deviations:
        found.append(f"Differs from the published recipe: {text.rstrip('.')}.")
    for field in manifest.idle_axes:
        found.append(f"The axis {axis_label(field)} changed nothing: its points are the same cells.")
    if off_playbook(overview):
        found.append(f"Values the papers do not use: {listed(off_playbook(overview))}.")
    return found


def _of_the_protocol(overview: Overview) -> list[str]:
    """What its numbers cannot be held against."""
    first = overview.sweep.results.iloc[0]
    found: list[str] = []
    if overview.distance != "fid":
        found.append(
            f"{overview.distance} is a Fréchet distance between features "
            f"of the extractor {first['extractor']}: it ranks the cells "
            "of this sweep and cannot be held against published numbers."
        )
    if int(first["num_samples"]) < FULL_SAMPLES:
        found.append(
            f"{int(first['num_samples']):,} images per cell; published numbers use {FULL_SAMPLES:,}. "
            "A Fréchet distance falls as images are added, so only equal counts compare."
        )
    return found + _few_images(overview)


def _of_the_trainings(overview: Overview) -> list[str]:
    """How sure its comparisons are."""
    found = [_seeds(overview), *_overfitting(overview)]
    if len(overview.configurations) >= MANY_CONFIGURATIONS:
        count = counted(len(overview.configurations), "configuration")
        found.append(f"The best of {count} is picked on the numbers it is reported by, so it is optimistic.")
    missing = missing_cells(overview)
    if missing:
        found.append(f"{counted(len(missing), 'planned cell')} without a result: this is not the whole grid.")
    return found


def is_smoke(overview: Overview) -> bool:
    """Whether the sweep or any of its cells is a smoke run."""
    return overview.sweep.manifest.smoke or bool(overview.sweep.results["smoke"].fillna(False).any())


def off_playbook(overview: Overview) -> list[str]:
    """Fields whose values the papers do not use, from the manifest and from every cell."""
    fields = set(overview.sweep.manifest.off_playbook)
    for text in overview.sweep.results["off_playbook"].dropna().unique():
        fields |= {str(field) for field in json.loads(text)}
    return sorted(fields)


def _overfitting(overview: Overview) -> list[str]:
    """A sentence for each of the first trainings that overfit, and how many more there are."""
    names = {train_id: one.trained for one in overview.configurations for train_id in one.train_ids}
    found = [
        f"{names.get(train_id, 'A training without cells')} ({train_id[:8]}) {window.words}."
        for train_id, window in by_training(overview.sweep.curves).items()
    ]
    more = len(found) - LISTED_TRAININGS
    rest = [f"{counted(more, 'more training')} overfit as well; figures/training_curves.png shades when."]
    return [*found[:LISTED_TRAININGS], *(rest if more > 0 else [])]


def _few_images(overview: Overview) -> list[str]:
    """A sentence where there are too few images for a covariance of full rank, of either kind."""
    manifest = overview.sweep.manifest
    dims = manifest.protocol.feature_dims
    generated = int(overview.sweep.results.iloc[0]["num_samples"])
    counts = {"generated": generated, "real": manifest.data.num_images or math.inf}
    few = [f"{count:,} {kind}" for kind, count in counts.items() if count <= dims]
    if not few:
        return []
    return [
        f"{listed(few)} images, no more than the {dims:,} dimensions of the features: "
        f"their covariance lacks rank, which biases {overview.distance} upwards."
    ]


def _seeds(overview: Overview) -> str:
    fewest, most = overview.seeds
    if most == 1:
        return "One training per configuration: the spread between trainings is not measured."
    spread = f"{fewest} to {most}" if fewest < most else str(most)
    return (
        f"{spread} trainings per configuration; all cells share "
        "their latents, so sampling noise is common to them."
    )
