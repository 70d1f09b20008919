"""Sampling speed from a few forward passes of each network whose cells are missing, as a worker here would
run them."""

from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from orchestrator.planning.cost import counted_or_unknown, sampling_cost
from orchestrator.planning.identity import canonical_json
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import remember_forwards, speed_key
from orchestrator.storage.store import Store

FORWARD_PASSES = 3
"""Passes of each network, besides one that warms it up."""


def calibrate(plan: Plan, store: Store) -> None:
    """Measure the networks of the missing cells, those of a family together, and remember their speeds."""
    threads = max(1, int(plan.sweep.grid.resources.cpus_per_worker))
    done: dict[str, tuple[float, float]] = {}
    for experiment in distinct_networks(plan):
        key = speed_key(experiment)
        done[key] = _sum(done.get(key, (0.0, 0.0)), batch_cost(experiment, threads))
    # A network that nobody counted tells no speed.
    speeds = {key: macs / seconds for key, (macs, seconds) in done.items() if macs}
    remember_forwards(speeds, FORWARD_PASSES, store)


def distinct_networks(plan: Plan) -> list[Experiment]:
    """One experiment of each network and batch shape among the missing cells."""
    found: dict[str, Experiment] = {}
    for cell in plan.missing_cells:
        found.setdefault(
            canonical_json([cell.training.train_id, cell.experiment.eval.batch_size]), cell.experiment
        )
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


def _sum(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]
