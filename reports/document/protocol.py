"""How strictly numbers were measured, in words that stand beside them [playbook 5.5]."""

from dataclasses import replace
from typing import Literal

from engine.records.protocol import FULL_SAMPLES
from reports.formatting import sentence
from reports.read.overview import Overview
from reports.tables.table import Table

Level = Literal["quick", "full"]

SAMPLED = ("precision", "recall", "density", "coverage")
"""Metrics of images, beside the distance, whose values depend on how many there are."""


def level(overview: Overview) -> Level:
    """`full` for FID, which is Inception's, on at least 50,000 images; anything else is `quick`."""
    enough = int(overview.sweep.results["num_samples"].iloc[0]) >= FULL_SAMPLES
    return "full" if enough and overview.distance == "fid" else "quick"


def level_words(overview: Overview) -> str:
    """The level with what makes it: "quick protocol: 2,000 images, extractor classifier"."""
    first = overview.sweep.results.iloc[0]
    return f"{level(overview)} protocol: {int(first['num_samples']):,} images, extractor {first['extractor']}"


def marked(table: Table, overview: Overview) -> Table:
    """The table with the level in each row of its file and, where it is quick, in the caption.

    A table without metrics of sampled images, such as one of losses, stays as it is.
    """
    metrics = (overview.distance, *SAMPLED)
    if not any(column.name.split(" (")[0] in metrics for column in table.columns):
        return table
    words = f" {sentence(level_words(overview))}" if level(overview) == "quick" else ""
    return replace(table, caption=table.caption + words, frame=table.frame.assign(level=level(overview)))
