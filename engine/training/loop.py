"""The training loop: one process, or several under torch.distributed that share every global batch."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from engine.build import build_denoiser, build_network
from engine.data.datasets import ImageSet
from engine.files import Files
from engine.noise import Purpose, generator_seed
from engine.objectives import OBJECTIVES
from engine.spec import Experiment
from engine.training.batches import make_batch
from engine.training.ema import Ema, ema_decay
from engine.training.optim import build_optimizer, learning_rate, optimizer_step
from engine.training.panel import save_panel
from engine.training.snapshot import TrainingState, restore_checkpoint, save_checkpoint, save_snapshot

CURVE_ROWS_PER_SNAPSHOT = 10


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; training stopped at once and the last checkpoint is intact."""


@dataclass(frozen=True)
class Tick:
    """What is reported once a snapshot interval."""

    images_shown: int
    loss: float
    images_per_second: float
    curves: list[tuple[float, str, float]]
    """All curve rows (kimg, name, value) since the beginning of training."""


@dataclass(frozen=True)
class World:
    """This process among those that share a training."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> "World":
        """The torch.distributed group, or a world of one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)


def train(
    experiment: Experiment, images: ImageSet, files: Files, report: Callable[[Tick], None], device: torch.device
) -> float:
    """Train to the end, resuming from the checkpoint in `files` when there is one; returns the seconds of all sessions.

    Rank 0 writes a snapshot, a fixed-latents panel and the checkpoint at every snapshot interval; every rank calls
    `report` then. All randomness is keyed by (seed, position), so a resumed training ends with the same weights.

    Raises ValueError when the batch cannot be shared evenly, NonFiniteLoss when training diverges.
    """
    settings, world = experiment.train, World.current()
    check_shares(experiment, world)
    net = build_network(experiment).to(device)
    state = TrainingState(net, Ema(net), build_optimizer(net.parameters(), settings))
    restore_checkpoint(files, state)
    step_fn = TrainingStep(experiment, images, state, world, device)
    for goal in settings.snapshot_steps:
        if goal <= state.step:
            continue
        loss, rate = run_interval(step_fn, state, goal)
        if world.rank == 0:
            save_snapshot(files, state, goal * settings.batch_size)
            save_panel(files, experiment, state.ema.net, goal * settings.batch_size, device)
            save_checkpoint(files, state)
        report(Tick(goal * settings.batch_size, loss, rate, state.curves))
    return state.seconds


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


class TrainingStep:
    """One optimizer step on one global batch, of which this worker computes its share."""

    def __init__(
        self, experiment: Experiment, images: ImageSet, state: TrainingState, world: World, device: torch.device
    ) -> None:
        self.experiment, self.images, self.state, self.world, self.device = experiment, images, state, world, device
        self.params = list(state.net.parameters())
        self.losses = OBJECTIVES[experiment.objective.kind]
        denoiser = build_denoiser(experiment, state.net)
        self.denoise: nn.Module = DistributedDataParallel(denoiser) if world.size > 1 else denoiser

    def __call__(self) -> Tensor:
        """Run the step and return this worker's part of the mean loss, without waiting for the device."""
        settings, state = self.experiment.train, self.state
        images_shown = state.step * settings.batch_size
        state.net.train()
        state.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for positions, is_last in self.microbatches(images_shown):
            synchronise = is_last or self.world.size == 1
            with nullcontext() if synchronise else self.without_sync():
                loss = self.loss_sum(positions) / settings.batch_size
                (loss * self.world.size).backward()  # workers' gradients are averaged, the batch's must be summed
            total += loss.detach()
        optimizer_step(state.optimizer, self.params, settings, images_shown)
        state.ema.update(state.net, ema_decay(settings, images_shown))
        state.step += 1
        return total

    def without_sync(self) -> AbstractContextManager[None]:
        """Let gradients add up locally until the step's last microbatch."""
        assert isinstance(self.denoise, DistributedDataParallel)
        return self.denoise.no_sync()

    def microbatches(self, images_shown: int) -> Iterator[tuple[Tensor, bool]]:
        """Positions in the training stream of each forward pass of this worker, and whether it is the last."""
        settings = self.experiment.train
        share = settings.batch_size // self.world.size
        first = images_shown + self.world.rank * share
        chunks = torch.arange(first, first + share).split(settings.microbatch_size or share)
        for number, positions in enumerate(chunks, start=1):
            yield positions, number == len(chunks)

    def loss_sum(self, positions: Tensor) -> Tensor:
        """Sum of the losses of the images at these positions; dropout is keyed by the first of them."""
        seed = self.experiment.train.seed
        torch.manual_seed(generator_seed(seed, Purpose.DROPOUT, int(positions[0])))
        batch = make_batch(self.images, self.experiment.data, seed, positions, self.device)
        label = batch.label if self.experiment.model.class_conditional else None
        return self.losses(self.experiment.objective, self.denoise, batch.x0, label, batch.uniform, batch.eps).sum()


def run_interval(step_fn: TrainingStep, state: TrainingState, goal: int) -> tuple[float, float]:
    """Train up to step `goal`, adding curve rows on the way; returns the last row's loss and images per second."""
    settings = step_fn.experiment.train
    stride = max(1, -(-(goal - state.step) // CURVE_ROWS_PER_SNAPSHOT))
    loss = rate = math.nan
    while state.step < goal:
        started, count = time.perf_counter(), min(stride, goal - state.step)
        step_losses = torch.stack([step_fn() for _ in range(count)])
        if step_fn.world.size > 1:
            dist.all_reduce(step_losses)
        loss = float(step_losses.mean())
        seconds = time.perf_counter() - started
        state.seconds += seconds
        rate = count * settings.batch_size / seconds
        kimg = state.step * settings.batch_size / 1000
        if not math.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {loss} at {kimg:g} kimg; the last checkpoint is intact")
        lr = learning_rate(settings, (state.step - 1) * settings.batch_size)
        rows = {"train/loss": loss, "train/lr": lr, "train/images_per_second": rate}
        state.curves += [(kimg, name, value) for name, value in rows.items()]
    return loss, rate
