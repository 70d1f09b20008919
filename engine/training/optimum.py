"""The optimal loss of the training images at the bins of a schedule:
measured once, kept in the training's folder."""

import json

import torch
import torch.distributed as dist

from engine.config.experiment import Experiment
from engine.data.datasets import ImageSet, points_of
from engine.files import Files
from engine.metrics.optimal_loss import optimal_loss
from engine.records import paths
from engine.training.gap_history import Bins, Optimum
from engine.training.step import World

NUM_DRAWS = 1024
"""Noisy images at each noise level."""

LARGEST_SET = 2**16
"""Points that are all looked at; of more, random subsets of so many are (cDOL)."""


def training_optimum(
    experiment: Experiment, images: ImageSet, files: Files, world: World, device: torch.device
) -> Optimum | None:
    """What the experiment's schedule must know of its images; None for one that is fixed.

    Rank 0 reads it from the training's folder, or measures and writes it, and tells the others.
    """
    design = experiment.objective.design
    schedule = design.training_schedule.loss_gap
    if schedule is None:
        return None
    bins = Bins.of(design, schedule.num_bins)
    values = torch.zeros(bins.count, dtype=torch.float64, device=device)
    if world.rank == 0:
        kept = files.read(paths.OPTIMUM)
        if kept is None:
            kept = measured(experiment, images, bins, device)
            files.write(paths.OPTIMUM, kept)
        values = values.new_tensor(json.loads(kept)["optimal_loss"])
    if world.size > 1:
        dist.broadcast(values, 0)
    return Optimum(tuple(values.tolist()), images.images[0].numel())


def measured(experiment: Experiment, images: ImageSet, bins: Bins, device: torch.device) -> bytes:
    """The file's content: noise levels, optimal squared
    errors of x0 per dimension, and their standard errors."""
    labelled = experiment.model.class_conditional
    points, labels = points_of(images, mirrored=experiment.data.x_flip, labelled=labelled)
    found = optimal_loss(
        points.to(device),
        bins.centres.tolist(),
        num_draws=NUM_DRAWS,
        seed=experiment.train.seed,
        labels=None if labels is None else labels.to(device),
        estimator="full" if len(points) <= LARGEST_SET else "cdol",
        subset_size=LARGEST_SET,
    )
    columns = {
        "sigma": [level.sigma for level in found],
        "optimal_loss": [level.value for level in found],
        "stderr": [level.stderr for level in found],
    }
    return json.dumps(columns).encode()
