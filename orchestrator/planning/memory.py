"""What a worker of a plan's largest training or shared run holds, and what this machine's GPUs have."""

import shutil
import subprocess

from engine.sampling.shared_run_memory import SharedRunMemory, shared_run_memory
from engine.training.memory import Memory, memory_budget
from orchestrator.planning.cost import model_cost
from orchestrator.planning.plan import Plan
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.spool_batches import GIB
from orchestrator.planning.training import Training

MIB = 2**20


def training_memory(unit: Training, workers: int) -> Memory | None:
    """Memory of each of the `workers` processes that share a training; None where nobody counts it."""
    train = unit.experiment.train
    share = -(-train.batch_size // workers)
    microbatch = min(share, train.microbatch_size or share)
    return memory_budget(unit.experiment, model_cost(unit.experiment).params, microbatch)


def largest_memory(plan: Plan) -> Memory | None:
    """Memory of a worker of the largest training that is still to run; None when there is nothing to
    train, or where nobody counts it."""
    workers = plan.sweep.grid.resources.workers
    units = [unit for unit in plan.missing_trainings if plan.training_state(unit) == "train"]
    budgets = [training_memory(unit, workers) for unit in units]
    return max(filter(None, budgets), key=lambda budget: budget.total, default=None)


def group_memory(group: PrefixGroup) -> SharedRunMemory | None:
    """Memory of a worker that samples a whole group in a shared run; None where nobody counts it."""
    experiment = group.cells[0].experiment
    samplers = [cell.experiment.sample for cell in group.cells]
    return shared_run_memory(experiment, samplers, model_cost(experiment).params)


def largest_shared_run(plan: Plan) -> SharedRunMemory | None:
    """Memory of a worker of the largest shared run that is still missing; None when there is none."""
    budgets = [group_memory(group) for group in plan.missing_groups if group.shares]
    return max(filter(None, budgets), key=lambda budget: budget.total, default=None)


def memory_words(memory: Memory | SharedRunMemory) -> str:
    """A budget in a line: about 8.3 GiB (weights 0.2, gradients 0.2, optimizer 0.4, averages 0.2, ...)."""
    unit, name = (GIB, "GiB") if memory.total >= GIB else (MIB, "MiB")
    parts = ", ".join(f"{part} {size / unit:.1f}" for part, size in vars(memory).items())
    return f"about {memory.total / unit:.1f} {name} ({parts})"


def gpu_memory() -> int | None:
    """Bytes of the smallest GPU of this machine, as its driver says; None when there is none to ask."""
    if shutil.which("nvidia-smi") is None:
        return None
    ask = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10).stdout
        return min(int(line) for line in said.split()) * MIB
    except (subprocess.SubprocessError, OSError, ValueError):
        return None


def shortage(memory: Memory, gpus_per_worker: float) -> str | None:
    """A warning when a worker's part of a GPU holds less than its training needs; None if that is unknown."""
    if not gpus_per_worker:
        return None
    device = gpu_memory()
    share = min(1.0, gpus_per_worker)
    if device is None or memory.total <= share * device:
        return None
    part = "a GPU here has" if share == 1 else f"{share:g} of a GPU here is"
    return f"{part} {share * device / GIB:.1f} GiB; set train.microbatch_size, a divisor of a worker's batch"
