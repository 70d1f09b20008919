"""Whether a point's network can be built on its data set's images, and which field is to blame if not."""

from engine.backbones.flops import forward_layers
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from orchestrator.grid.file import Overrides
from orchestrator.grid.yaml_source import Fault


def building_fault(experiment: Experiment, given: Overrides) -> Fault | None:
    """Why there is no such network, as a fault of the likeliest given field; None if it can be built.

    `given` has the fixed fields first and the varied ones last, which are likelier.
    """
    try:
        forward_layers(experiment.model, net_shape(experiment))
    except ValueError as error:
        reason = str(error)
    else:
        return None
    names = [name for name in reversed(list(given)) if name.startswith("model.") or name == "data.name"]
    named = [name for name in names if name.removeprefix("model.") in reason.split()]
    field = next(iter(named + names), "model")
    return Fault(tuple(field.split(".")), f"the network cannot be built on {experiment.data.name}: {reason}")
