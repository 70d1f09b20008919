"""Sampling speed from a few forward passes, run as a worker on this machine would run them."""

from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.records.speed import Speeds
from orchestrator.planning.cost import counted_or_unknown, sampling_cost
from orchestrator.planning.identity import canonical_json
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import speed_key, with_forwards

FORWARD_PASSES = 3
"""Passes of each network, besides one that warms it up."""


def calibrate(plan: Plan, speeds: Speeds) -> Speeds:
    """What is known, and the measured speeds of the missing cells' networks, those of a family together."""
    threads = max(1, int(plan.sweep.grid.resources.cpus_per_worker))
    macs: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for experiment in distinct_networks(plan):
        key = speed_key(experiment)
        executed, took = batch_cost(experiment, threads)
        macs[key] = macs.get(key, 0.0) + executed
        seconds[key] = seconds.get(key, 0.0) + took
    # A network whose layers nobody counted tells no speed.
    measured = {key: macs[key] / seconds[key] for key in macs if macs[key]}
    return with_forwards(speeds, measured, FORWARD_PASSES)


def distinct_networks(plan: Plan) -> list[Experiment]:
    """One experiment of each network and batch shape among the missing cells."""
    found: dict[str, Experiment] = {}
    for cell in plan.missing_cells:
        network = canonical_json([cell.training.train_id, cell.experiment.eval.batch_size])
        found.setdefault(network, cell.experiment)
    return list(found.values())


def batch_cost(experiment: Experiment, threads: int) -> tuple[float, float]:
    """Multiply-accumulates and seconds of a forward pass of the protocol's batch on so many threads."""
    import torch

    from engine.device import worker_device
    from engine.evaluation.forward_benchmark import measure_forwards

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        measured = measure_forwards(experiment, FORWARD_PASSES, worker_device())
    finally:
        torch.set_num_threads(before)
    macs = sampling_cost(experiment).macs
    if measured.flops_ratio is not None:
        macs = counted_or_unknown(
            experiment.model.executed_cost(net_shape(experiment), measured.flops_ratio)
        ).macs
    return experiment.eval.batch_size * macs, measured.seconds
