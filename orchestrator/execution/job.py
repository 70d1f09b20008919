"""Where and with what the units of one sweep run."""

from dataclasses import dataclass

from orchestrator.console.progress import Progress
from orchestrator.errors import UsageError
from orchestrator.execution.draining import Draining
from orchestrator.execution.ray_session import SCRATCH_IN_STORE
from orchestrator.execution.ray_values import RayValues
from orchestrator.grid import Resources
from orchestrator.planning.cell import Cell
from orchestrator.planning.training import Training
from orchestrator.planning.unit import Unit
from orchestrator.storage.store import Store


@dataclass(frozen=True)
class Job:
    """Where and with what the units of one sweep run."""

    store: Store
    resources: Resources
    data_root: str | None
    progress: Progress
    draining: Draining

    @property
    def scratch(self) -> str:
        """Ray's own files: never read again, removed when the sweep ends."""
        return f"{self.store.uri}/{SCRATCH_IN_STORE}"

    @property
    def threads(self) -> int:
        """Threads of each worker's arithmetic: part of what its numbers depend on."""
        return max(1, int(self.resources.cpus_per_worker))

    def unit_of_training(self, training: Training) -> Unit:
        """What a worker is told of a training."""
        return Unit.of_training(training, self.store.uri, self.data_root, self.threads)

    def unit_of_cell(self, cell: Cell) -> Unit:
        """What a worker is told of a cell."""
        return Unit.of_cell(cell, self.store.uri, self.data_root, self.threads)

    def train_settings(self) -> RayValues:
        """What a trial that trains needs besides its unit: its workers' resources and Ray Train's folder."""
        return {"resources": self.resources.model_dump(), "scratch": f"{self.scratch}/train"}

    def trainings_at_once(self) -> int:
        """How many trainings the cluster holds: with more, Tune's workers would wait for each other.

        Raises UsageError when it does not hold even one, which would wait for ever.
        """
        slots = self.slots()
        workers = self.resources.workers
        if slots < workers:
            room = f"the cluster has room for {slots} workers"
            raise UsageError(
                f"one training asks for {workers} workers but {room}; change `resources` in the grid"
            )
        return slots // workers

    def slots(self) -> int:
        """How many workers, or sampling actors, the cluster holds."""
        import ray

        available = ray.cluster_resources()
        slots = int(available.get("CPU", 1) // self.resources.cpus_per_worker)
        if self.resources.gpus_per_worker:
            slots = min(slots, int(available.get("GPU", 0) // self.resources.gpus_per_worker))
        return slots
