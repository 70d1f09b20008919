"""What a training holds in memory, counted on paper [002 section 12.5]. Imports no torch."""

from dataclasses import dataclass, fields

from engine.backbones.base import FP32, HALF
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.config.weights import tracked_weights


@dataclass(frozen=True)
class Memory:
    """Bytes that one worker holds at the end of a forward pass, when most is held.

    Left out are the workspaces of convolutions, gradients
    of activations on their way, and the framework itself.
    """

    weights: int
    """fp32 master weights; in mixed precision also the copy that the layers use."""
    gradients: int
    optimizer: int
    averages: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def memory_budget(experiment: Experiment, params: int, microbatch: int) -> Memory | None:
    """Memory of a training worker whose network has P = `params`
    parameters and sees `microbatch` images at a time.

    Weights take 4 P (6 P in mixed precision), gradients 4 P, Adam's two moments 8 P, every average of the
    weights 4 P. Gradients stay in fp32 here, where 002 writes them in half precision. Under objective ocm
    only a small head is trained and the network is frozen: of that, weights and averages alone count. None
    where the network's kind does not count what it keeps. Raises ValueError when there is no such network for
    the data set's images.
    """
    train = experiment.train
    mixed = train.precision != "fp32"
    shape = net_shape(experiment)
    kept = experiment.model.training_bytes(shape, HALF if mixed else FP32, checkpointing=train.checkpointing)
    if kept is None:
        return None
    trains = not experiment.objective.is_head
    return Memory(
        weights=(FP32 + HALF * mixed) * params,
        gradients=FP32 * params * trains,
        optimizer=2 * FP32 * params * trains,
        averages=len(tracked_weights(train)) * FP32 * params,
        activations=microbatch * kept * trains,
    )
