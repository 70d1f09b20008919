"""The training loop: one process, or several under torch.distributed that share every global batch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist

from engine.config.experiment import Experiment
from engine.data.datasets import ImageSet
from engine.files import Files
from engine.training.optim import learning_rate
from engine.training.optimum import training_optimum
from engine.training.panel import save_panel
from engine.training.precision import NonFiniteLoss
from engine.training.snapshot import TrainingState, save_checkpoint, save_snapshot
from engine.training.start import starting_state
from engine.training.step import TrainingStep, World

CURVE_ROWS_PER_SNAPSHOT = 10


@dataclass(frozen=True)
class Tick:
    """What is reported once a snapshot interval."""

    images_shown: int
    loss: float
    images_per_second: float
    curves: list[tuple[float, str, float]]
    """All curve rows (kimg, name, value) since the beginning of training."""


def train(
    experiment: Experiment,
    images: ImageSet,
    files: Files,
    report: Callable[[Tick], None],
    device: torch.device,
    parent_files: Files | None = None,
) -> float:
    """Train to the end, resuming from the checkpoint in `files` when there is one;
    returns the seconds of all sessions.

    Rank 0 writes a snapshot, a fixed-latents panel and the checkpoint at every snapshot interval; every rank
    calls `report` then. All randomness is keyed by (seed, position), so a resumed training ends with the same
    weights. `parent_files` is the folder of the training that `experiment.start` names.

    Raises ValueError when the batch cannot be shared evenly, NonFiniteLoss when training diverges.
    """
    settings = experiment.train
    world = World.current()
    check_shares(experiment, world)
    optimum = training_optimum(experiment, images, files, world, device)
    begin = partial(starting_state, experiment, files, parent_files, device, optimum)
    state = begin()
    step_fn = TrainingStep(experiment, images, state, world, device)
    while state.step < settings.num_steps:
        goal = next(step for step in settings.snapshot_steps if step > state.step)
        try:
            loss, rate = run_interval(step_fn, state, goal)
        except NonFiniteLoss:
            if settings.on_non_finite == "stop" or state.precision == "fp32":
                raise
            state = back_in_fp32(begin(), settings.batch_size)
            step_fn = TrainingStep(experiment, images, state, world, device)
            continue
        if world.rank == 0:
            save_snapshot(files, state, goal * settings.batch_size)
            save_panel(files, experiment, state.ema.net, goal * settings.batch_size, device, state.precision)
            save_checkpoint(files, state)
        report(Tick(goal * settings.batch_size, loss, rate, state.curves))
    return state.seconds


def back_in_fp32(state: TrainingState, batch_size: int) -> TrainingState:
    """The last checkpoint's state, which goes on in single precision; the curves say from where."""
    state.fall_back_to_fp32()
    state.curves.append((state.step * batch_size / 1000, "train/fell_back_to_fp32", 1.0))
    return state


def check_shares(experiment: Experiment, world: World) -> None:
    """ValueError unless every worker gets an equal share of the batch, made of whole microbatches."""
    settings = experiment.train
    if settings.batch_size % world.size:
        raise ValueError(f"train.batch_size {settings.batch_size} is no multiple of {world.size} workers")
    share = settings.batch_size // world.size
    if settings.microbatch_size is not None and share % settings.microbatch_size:
        raise ValueError(
            f"a worker's share of {share} images is no multiple of microbatch_size {settings.microbatch_size}"
        )


def run_interval(step_fn: TrainingStep, state: TrainingState, goal: int) -> tuple[float, float]:
    """Train up to step `goal`, adding curve rows on the way;
    returns the last row's loss and images per second.

    Raises NonFiniteLoss when the loss diverges, or the weights
    that the last step leaves, which no loss has seen yet.
    """
    settings = step_fn.experiment.train
    stride = max(1, -(-(goal - state.step) // CURVE_ROWS_PER_SNAPSHOT))
    loss = rate = math.nan
    while state.step < goal:
        started = time.perf_counter()
        count = min(stride, goal - state.step)
        step_losses = torch.stack([step_fn() for _ in range(count)])
        if step_fn.world.size > 1:
            dist.all_reduce(step_losses)
        losses = dict(zip(step_fn.names, step_losses.mean(0).tolist(), strict=True))
        loss = losses["loss"]
        seconds = time.perf_counter() - started
        state.seconds += seconds
        rate = count * settings.batch_size / seconds
        kimg = state.step * settings.batch_size / 1000
        if not math.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {loss} at {kimg:g} kimg; the last checkpoint is intact")
        if state.scaler is not None:
            state.scaler.check()
        lr = learning_rate(settings, (state.step - 1) * settings.batch_size)
        rows = {f"train/{name}": value for name, value in losses.items()}
        rows |= {
            "train/lr": lr,
            "train/grad_norm": float(step_fn.gradient_norm),
            "train/images_per_second": rate,
        }
        state.curves += [(kimg, name, value) for name, value in rows.items()]
    if not all(bool(param.isfinite().all()) for param in step_fn.params):
        kimg = goal * settings.batch_size / 1000
        raise NonFiniteLoss(f"the weights are not finite at {kimg:g} kimg; the last checkpoint is intact")
    return loss, rate
