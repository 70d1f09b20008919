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
    manifest, first = overview.sweep.manifest, overview.sweep.results.iloc[0]
    found = []
    if is_smoke(overview):
        found.append(
            "A smoke run: it shows that the machinery works and says nothing about the published sizes."
        )
    deviations = [str(text).rstrip(".") for text in manifest.get("deviations") or []]
    found += [f"Differs from the published recipe: {text}." for text in deviations]
    idle = [axis_label(str(field)) for field in manifest.get("idle_axes") or []]
    found += [f"The axis {label} changed nothing: its points are the same cells." for label in idle]
    if off_playbook(overview):
        found.append(f"Values the papers do not use: {listed(off_playbook(overview))}.")
    if overview.distance != "fid":
        found.append(
            f"{overview.distance} is a Fréchet distance between features of the extractor {first['extractor']}: "
            "it ranks the cells of this sweep and cannot be held against published numbers."
        )
    if int(first["num_samples"]) < FULL_SAMPLES:
        found.append(
            f"{int(first['num_samples']):,} images per cell; published numbers use {FULL_SAMPLES:,}. "
            "A Fréchet distance falls as images are added, so only equal counts compare."
        )
    found += _few_images(overview)
    found.append(_seeds(overview))
    found += _overfitting(overview)
    if len(overview.configurations) >= MANY_CONFIGURATIONS:
        count = counted(len(overview.configurations), "configuration")
        found.append(f"The best of {count} is picked on the numbers it is reported by, so it is optimistic.")
    missing = missing_cells(overview)
    if missing:
        found.append(f"{counted(len(missing), 'planned cell')} without a result: this is not the whole grid.")
    found.append("Seconds per image were taken while other work ran beside it: an indication, no benchmark.")
    found.append("Images repeat bit for bit on one kind of device; another kind may round differently.")
    return tuple(found)


def is_smoke(overview: Overview) -> bool:
    """Whether the sweep or any of its cells is a smoke run."""
    return bool(overview.sweep.manifest.get("smoke")) or bool(
        overview.sweep.results["smoke"].fillna(False).any()
    )


def off_playbook(overview: Overview) -> list[str]:
    """Fields whose values the papers do not use, from the manifest and from every cell."""
    fields = {str(field) for field in overview.sweep.manifest.get("off_playbook") or []}
    for text in overview.sweep.results["off_playbook"].dropna().unique():
        fields |= {str(field) for field in json.loads(text)}
    return sorted(fields)


def _overfitting(overview: Overview) -> list[str]:
    """A sentence for each of the first trainings that overfit, and how many more there are."""
    names = {train_id: one.training for one in overview.configurations for train_id in one.train_ids}
    found = [
        f"{names.get(train_id, 'A training without cells')} ({train_id[:8]}) {window.words}."
        for train_id, window in by_training(overview.sweep.curves).items()
    ]
    more = len(found) - LISTED_TRAININGS
    rest = [f"{counted(more, 'more training')} overfit as well; figures/training_curves.png shades when."]
    return [*found[:LISTED_TRAININGS], *(rest if more > 0 else [])]


def _few_images(overview: Overview) -> list[str]:
    protocol, data = (overview.sweep.manifest.get(key) or {} for key in ("protocol", "data"))
    dims = protocol.get("feature_dims") or 0  # older manifests do not say
    generated, real = int(overview.sweep.results.iloc[0]["num_samples"]), data.get("num_images") or math.inf
    counts = {"generated": generated, "real": real}
    few = [f"{count:,} {kind}" for kind, count in counts.items() if count <= dims]
    if not few:
        return []
    return [
        f"{listed(few)} images, no more than the {dims:,} dimensions of the features: their covariance lacks rank, "
        f"which biases {overview.distance} upwards."
    ]


def _seeds(overview: Overview) -> str:
    fewest, most = overview.seeds
    if most == 1:
        return "One training per configuration: the spread between trainings is not measured."
    spread = f"{fewest} to {most}" if fewest < most else str(most)
    return f"{spread} trainings per configuration; all cells share their latents, so sampling noise is common to them."
