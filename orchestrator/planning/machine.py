"""Where a plan would run: this machine, or one that holds what a worker asks for."""

import glob
import os
from dataclasses import dataclass

from orchestrator.grid import Resources


@dataclass(frozen=True)
class Place:
    """Where a plan would run: workers at once, in words, and whether this machine has what they ask for."""

    slots: int
    words: str
    here: bool


def place_for(resources: Resources) -> Place:
    """This machine, or as many workers as one training asks for when this machine does not hold them."""
    slots = int(cpu_count() / resources.cpus_per_worker)
    kind = "CPU"
    lacking = "too few cores"
    if resources.gpus_per_worker:
        slots = min(slots, int(gpu_count() / resources.gpus_per_worker))
        kind = "GPU"
        lacking = "no GPU" if gpu_count() == 0 else "too few GPUs or cores"
    if slots >= resources.workers:
        return Place(slots, f"{slots} {kind} workers here", here=True)
    return Place(
        resources.workers, f"{resources.workers} {kind} workers; this machine has {lacking}", here=False
    )


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """NVIDIA devices of this machine, without importing torch."""
    return len(glob.glob("/dev/nvidia[0-9]*"))
