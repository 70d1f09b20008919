"""One optimizer step on one global batch, of which each worker computes its share."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from engine.build import build_denoiser
from engine.config.experiment import Experiment
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.noise import Purpose, generator_seed
from engine.objectives.losses.batch import Noised, Terms
from engine.training.batches import make_batch
from engine.training.compiling import compile_network
from engine.training.levels import Levels
from engine.training.optim import optimizer_step
from engine.training.snapshot import TrainingState


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


class LossModel(nn.Module):
    """The denoiser and its loss as one module, so that distributed training sees one forward pass."""

    def __init__(self, experiment: Experiment, denoiser: Denoiser) -> None:
        super().__init__()
        self.experiment = experiment
        self.denoiser = denoiser

    def forward(
        self,
        x0: Tensor,
        eps: Tensor,
        sigma: Tensor,
        label: Tensor | None,
        augment: Tensor | None,
        images_shown: int,
    ) -> Terms:
        """The loss of each image [B] and the terms it is made of, `images_shown` images into the training."""
        objective = self.experiment.objective
        batch = Noised(x0, eps, sigma, label, augment)
        diffusion = partial(objective.losses_at, images_shown, self.denoiser, batch)
        # What a network adds to the loss is weighed for a mean over pixels;
        # where an image's errors are summed instead, it must grow with them.
        pixels = x0[0].numel() if objective.design.pixels == "sum" else 1
        return self.experiment.model.losses(
            diffusion, self.denoiser.net, images_shown=images_shown, pixels=pixels
        )


class TrainingStep:
    """Runs optimizer steps; `names` are the losses it returns, in order."""

    def __init__(
        self,
        experiment: Experiment,
        images: ImageSet,
        state: TrainingState,
        world: World,
        device: torch.device,
    ) -> None:
        self.experiment = experiment
        self.images = images
        self.state = state
        self.world = world
        self.device = device
        self.params = [param for param in state.net.parameters() if param.requires_grad]
        compile_network(state.net, experiment.train.compile, device)
        model = LossModel(experiment, build_denoiser(experiment, state.net, state.precision))
        self.model: nn.Module = DistributedDataParallel(model) if world.size > 1 else model
        self.names: tuple[str, ...] = ("loss",)
        self.gradient_norm = torch.zeros((), device=device)
        """Of the last step, before clipping."""

    def __call__(self) -> Tensor:
        """Run the step and return this worker's part of the
        mean of each loss, without waiting for the device."""
        settings = self.experiment.train
        state = self.state
        images_shown = state.step * settings.batch_size
        state.net.train()
        state.optimizer.zero_grad(set_to_none=True)
        parts = []
        shown = []
        for positions, is_last in self.microbatches(images_shown):
            # Gradients of several microbatches add up here before the workers exchange them, once a step.
            synchronise = is_last or self.world.size == 1
            with nullcontext() if synchronise else self.without_sync():
                terms, levels = self.losses(positions)
                weight = levels.weight.to(terms["loss"].dtype)
                means = {
                    name: (weight * values).sum() / settings.batch_size for name, values in terms.items()
                }
                self.scaled(means["loss"]).backward()
            self.names = tuple(means)
            parts.append(torch.stack([value.detach() for value in means.values()]))
            # A budget's penalty and the complete network's loss say nothing of how hard a noise level is.
            shown.append((levels, terms.get("diffusion", terms["loss"]).detach()))
        self.sum_over_workers()
        self.gradient_norm = optimizer_step(
            state.optimizer, self.params, settings, images_shown, state.scaler
        )
        state.ema.update(state.net, images_shown)
        self.remember(shown)
        state.step += 1
        return torch.stack(parts).sum(0)

    def losses(self, positions: Tensor) -> tuple[Terms, Levels]:
        """Losses of the images at these positions, and the noise levels they are of.

        Randomness inside the network is keyed by the first position.
        """
        seed = self.experiment.train.seed
        torch.manual_seed(generator_seed(seed, Purpose.DROPOUT, int(positions[0])))
        batch = make_batch(self.images, self.experiment, positions, self.device)
        images_shown = self.state.step * self.experiment.train.batch_size
        # A warm-up's losses are another loss's: draws neither follow them nor remember them.
        warmed_up = images_shown >= self.experiment.objective.warmup_images
        levels = self.state.levels.draw(batch.uniform, positions, by_history=warmed_up)
        terms = self.model(batch.x0, batch.eps, levels.sigma, batch.label, batch.augment, images_shown)
        return terms, levels

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to differentiate: times the loss scale in half precision."""
        return loss if self.state.scaler is None else loss * self.state.scaler.scale

    def sum_over_workers(self) -> None:
        """Make the mean of the workers' gradients, which DistributedDataParallel takes, their sum:
        the whole batch's.

        A larger loss would do the same, but half precision
        would overflow the earlier the more workers there are.
        """
        if self.world.size > 1:
            torch._foreach_mul_(
                [param.grad for param in self.params if param.grad is not None], self.world.size
            )

    def remember(self, shown: list[tuple[Levels, Tensor]]) -> None:
        """Tell the noise levels' distribution what the step's images lost, the same on every worker."""
        drawer = self.state.levels
        if drawer.history is None:
            return
        found = [levels.bin for levels, _ in shown if levels.bin is not None]
        if not found:  # a warm-up's step
            return
        bins = torch.cat(found)
        losses = [
            values if levels.loss_unit is None else values / levels.loss_unit for levels, values in shown
        ]
        drawer.record(self.gathered(bins), self.gathered(torch.cat(losses)))

    def gathered(self, values: Tensor) -> Tensor:
        """One worker's values, followed by those of the others, in the order of ranks."""
        if self.world.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world.size)]
        dist.all_gather(parts, values)
        return torch.cat(parts)

    def without_sync(self) -> AbstractContextManager[None]:
        """Let gradients add up locally until the step's last microbatch."""
        assert isinstance(self.model, DistributedDataParallel)
        return self.model.no_sync()

    def microbatches(self, images_shown: int) -> Iterator[tuple[Tensor, bool]]:
        """Positions in the training stream of each forward
        pass of this worker, and whether it is the last."""
        settings = self.experiment.train
        share = settings.batch_size // self.world.size
        first = images_shown + self.world.rank * share
        chunks = torch.arange(first, first + share).split(settings.microbatch_size or share)
        for number, positions in enumerate(chunks, start=1):
            yield positions, number == len(chunks)
