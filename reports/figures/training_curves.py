"""Loss and snapshot quality over training, with the snapshot that was reported."""

from typing import Any

import numpy as np
import pandas as pd

from reports.figures.base import FigureKind
from reports.figures.style import Label, ReportFigure, colours, log_if_wide, new_figure, write_labels
from reports.formatting import describe
from reports.read.overfitting import LOSS, SELECTION, by_training
from reports.read.overview import Overview

BOUND = "train/vlb"

NAMES = {LOSS: "train/loss", BOUND: "variational bound (bits / dim)"}
"""Axis labels of training's own curves; the bound is there when an objective learns it."""


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None when no training left a curve."""
    curves = overview.sweep.curves[np.isfinite(overview.sweep.curves["value"])]
    selection = sorted(name for name in curves["name"].unique() if name.startswith(SELECTION))
    names = [name for name in (LOSS, BOUND, *selection[:1]) if (curves["name"] == name).any()]
    if not names:
        return None
    figure, panes = new_figure(width=7.6, height=3.7, columns=len(names))
    trainings = _trainings(overview)
    labels = list(dict.fromkeys(trainings.values()))
    colour = dict(zip(labels, colours(len(labels)), strict=True))
    for axes, name in zip(panes, names, strict=True):
        _plot_pane(axes, curves[curves["name"] == name], trainings, colour)
        axes.set_xlabel("images shown (kimg)")
        axes.set_ylabel(NAMES[name] if name in NAMES else overview.facts(name.removeprefix(SELECTION)).header)
    if selection:
        _mark_chosen(panes[-1], overview, curves[curves["name"] == selection[0]], trainings, colour)
    shaded = _shade_overfitting(panes, curves, trainings, colour)
    write_labels(panes[-1], _ends(curves[curves["name"] == names[-1]], trainings, colour))
    return ReportFigure(figure, FIGURE.title, _caption(bool(selection), shaded))


def _trainings(overview: Overview) -> dict[str, str]:
    """train id -> label of its configuration, also for trainings none of whose cells finished."""
    known = {train_id: one.trained for one in overview.configurations for train_id in one.train_ids}
    for one in overview.sweep.manifest.trainings:
        own = {field: one.axes[field] for field in overview.trained_fields if field in one.axes}
        known.setdefault(one.train_id, describe(own) or one.train_id[:10])
    for train_id in overview.sweep.curves["train_id"].unique():
        known.setdefault(train_id, str(train_id)[:10])
    return known


def _plot_pane(axes: Any, curves: pd.DataFrame, trainings: dict[str, str], colour: dict[str, str]) -> None:
    several = len(curves["train_id"].unique()) > len(set(trainings.values()))
    for train_id, curve in curves.groupby("train_id"):
        line = curve.sort_values("kimg")
        own = colour[trainings[str(train_id)]]
        axes.plot(line["kimg"], line["value"], color=own, lw=1.5, alpha=0.55 if several else 1.0)
    log_if_wide(axes, list(curves["value"]))


def _mark_chosen(
    axes: Any, overview: Overview, curves: pd.DataFrame, trainings: dict[str, str], colour: dict[str, str]
) -> None:
    chosen = overview.sweep.results.drop_duplicates("train_id").set_index("train_id")["snapshot_kimg"]
    for train_id, kimg in chosen.items():
        at = curves[(curves["train_id"] == train_id) & (curves["kimg"] == kimg)]
        own = colour[trainings[str(train_id)]]
        axes.plot(at["kimg"], at["value"], ls="", marker="o", ms=9, mfc="none", mew=1.8, mec=own)


def _shade_overfitting(
    panes: list[Any], curves: pd.DataFrame, trainings: dict[str, str], colour: dict[str, str]
) -> bool:
    """Shade the windows in which trainings overfit, in their colours; returns whether there are any."""
    found = by_training(curves)
    for train_id, window in found.items():
        look = {"color": colour[trainings[train_id]], "alpha": 0.09, "lw": 0, "zorder": 0}
        for axes in panes:
            axes.axvspan(window.from_kimg, window.to_kimg, **look)
    return bool(found)


def _caption(ringed: bool, shaded: bool) -> str:
    words = ["One line per training and seed; loss as logged."]
    if ringed:
        words.append("A ring marks the snapshot that was reported: the lowest of its training.")
    if shaded:
        words.append("Shaded: overfitting, where the loss still falls while the snapshots get worse.")
    return " ".join(words)


def _ends(curves: pd.DataFrame, trainings: dict[str, str], colour: dict[str, str]) -> list[Label]:
    """A name at the last point of each training configuration; none when there is only one."""
    last = curves.sort_values("kimg").groupby("train_id").tail(1)
    ends: dict[str, Label] = {}
    for train_id, kimg, value in zip(last["train_id"], last["kimg"], last["value"], strict=True):
        label = trainings[train_id]
        ends.setdefault(label, Label(float(kimg), float(value), label, colour[label]))
    return list(ends.values()) if len(ends) > 1 else []


FIGURE = FigureKind(name="training_curves", position=80, title="Training", plot=plot)
