"""What a shared run of samplers holds in memory, counted on paper. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from engine.backbones.base import FP32, HALF
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.samplers.base import SamplerBase
from engine.sampling.prefix_sharing import NOISES_KEPT, guided_trees

FP64 = 8
"""Bytes of a number outside of the network."""

WORKING_BATCHES = 14
"""Float64 batches held by the latents, by the step under way and by the arithmetic around the network.

Counted in runs: 7 under Euler, 10 under Heun, 13 under the Runge-Kutta step of a flow, which
keeps four slopes. One more is for whoever takes the images of a sampler that has ended.
"""


@dataclass(frozen=True)
class SharedRunMemory:
    """Bytes that a worker holds, at most, while it walks a tree of samplers.

    Left out are the workspaces of convolutions and the framework itself.
    """

    weights: int
    states: int
    """The states whose other branches are still to be taken,
    histories included, and what the step under way works with."""
    noise: int
    activations: int
    """A forward pass without gradients holds no more than one whose blocks are checkpointed keeps."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def shared_run_memory(
    experiment: Experiment, samplers: Sequence[SamplerBase], params: int
) -> SharedRunMemory | None:
    """Memory of a shared run of these samplers on a network of `params` parameters, at the protocol's batch.

    None where the network's kind does not count what it keeps.
    Raises ValueError when there is no such network for the data set's images.
    """
    shape = net_shape(experiment)
    batch_size = experiment.eval.batch_size
    mixed = experiment.train.precision != "fp32"
    kept = experiment.model.checkpointed_bytes(shape, HALF if mixed else FP32)
    if kept is None:
        return None
    numbers = batch_size * shape.in_channels * shape.resolution**2
    trees = guided_trees(samplers).values()
    waiting = max(tree.waiting_tensors(count) for tree in trees for count in steps_per_batch(experiment))
    remembered = max(tree.longest_history for tree in trees)
    noises = 0 if all(sampler.deterministic for sampler in samplers) else NOISES_KEPT
    return SharedRunMemory(
        weights=(FP32 + HALF * mixed) * params,
        states=(waiting + WORKING_BATCHES + remembered) * FP64 * numbers,
        noise=noises * FP64 * numbers,
        activations=batch_size * kept,
    )


def steps_per_batch(experiment: Experiment) -> set[int]:
    """How many steps share a network batch in the full batches of images, and in the last one."""
    rule = experiment.eval
    full, last = divmod(rule.num_samples, rule.batch_size)
    packed = last > 0 and experiment.model.packs_steps
    found = {rule.batch_size // last if packed else 1}
    return found | {1} if full else found
