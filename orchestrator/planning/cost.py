"""What networks, trainings and selections cost, in multiply-accumulates and evaluations."""

from collections.abc import Iterator
from contextlib import contextmanager

from engine.backbones.cost import UNKNOWN, Cost, Layer, sum_of
from engine.backbones.flops import forward_cost, forward_layers
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from orchestrator.errors import UsageError
from orchestrator.planning.training import Training

FORWARDS_PER_TRAINING_IMAGE = 3
"""Forward passes that a training step is worth: its own, and two products for each in the backward pass."""


def model_cost(experiment: Experiment) -> Cost:
    """Parameters and multiply-accumulates of one forward pass of one image; a DyDiT's when it skips nothing.

    Raises UsageError when there is no such network for the data set's images.
    """
    with buildable(experiment):
        return _model_cost(experiment)


def sampling_cost(experiment: Experiment) -> Cost:
    """The same while sampling: a DyDiT then keeps to its budget. Raises UsageError as `model_cost` does."""
    if not experiment.model.executes_part:
        return model_cost(experiment)
    with buildable(experiment):
        return counted_or_unknown(experiment.model.budget_cost(net_shape(experiment)))


def network_layers(experiment: Experiment) -> tuple[Layer, ...]:
    """The layers of an experiment's network in order, a head's last; none where its kind does not count them.

    Raises UsageError as `model_cost` does.
    """
    objective = experiment.objective
    parent = experiment.parent
    with buildable(experiment):
        if objective.is_head and parent is not None:
            added = objective.added_layers(parent.model, net_shape(experiment))
            below = network_layers(parent)
            return (*below, *added) if below else ()
        return forward_layers(experiment.model, net_shape(experiment)) or ()


def counted_or_unknown(cost: Cost | None) -> Cost:
    """A cost, or `UNKNOWN` where a network's kind does not count its layers."""
    return UNKNOWN if cost is None else cost


@contextmanager
def buildable(experiment: Experiment) -> Iterator[None]:
    """Turns what a network's layout refuses into a message for the user."""
    try:
        yield
    except ValueError as error:
        data = experiment.data.name
        raise UsageError(f"the network asked for cannot be built on {data}: {error}") from None


def _model_cost(experiment: Experiment) -> Cost:
    shape = net_shape(experiment)
    objective = experiment.objective
    parent = experiment.parent
    if objective.is_head and parent is not None:
        below = _model_cost(parent)
        added = objective.added_layers(parent.model, shape)
        return sum_of((below, *(layer.cost for layer in added))) if below.is_known else UNKNOWN
    return counted_or_unknown(forward_cost(experiment.model, shape))


def training_macs(unit: Training) -> float:
    """Cost of the training itself.

    Checkpointing goes forward once more. A DyDiT masks, not skips, and runs twice during its warm-up.
    """
    model = unit.experiment.model
    train = unit.experiment.train
    kimg = train.total_kimg + model.extra_training_kimg(train.total_kimg)
    forwards = FORWARDS_PER_TRAINING_IMAGE + (1 if train.checkpointing else 0)
    return kimg * 1000 * forwards * model_cost(unit.experiment).macs


def selection_nfe(unit: Training) -> int:
    """Network evaluations, over all images, that choosing the snapshot takes."""
    rule = unit.experiment.eval.selection
    return (
        len(unit.experiment.train.snapshot_steps) * rule.num_samples * unit.experiment.selection_sampler.nfe
    )
