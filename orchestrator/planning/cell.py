"""One sampler measured on one training's snapshot: what a row of the results is about."""

from dataclasses import dataclass

from engine.config.experiment import Experiment
from engine.config.weights import EmaWeights
from engine.records import paths
from engine.records.record import Axes
from orchestrator.planning.training import Training


@dataclass(frozen=True)
class Cell:
    """One sampler measured on one training's snapshot, and the points of the grid it stands for."""

    cell_id: str
    training: Training
    protocol_id: str
    experiment: Experiment
    axes: Axes
    """Swept fields of the first of its points."""
    points: tuple[Axes, ...]
    """What each grid point that is this cell asked for; more than one when points collapsed."""
    reasons: tuple[str, ...]
    """Why points are the same sampler, in words."""
    off_playbook: tuple[str, ...] = ()

    @property
    def done_file(self) -> str:
        """File that says the cell is finished."""
        return paths.cell_done(self.cell_id)

    @property
    def label(self) -> str:
        """Training and sampler in words."""
        training = self.training.label if self.training.axes or self.experiment.train.seed else ""
        seed = self.experiment.eval.sample_seed
        weights = self.experiment.weights
        averaged = "" if weights == EmaWeights() else weights.label(self.experiment.train)
        parts = (training, averaged, self.experiment.sample.label, f"sample seed {seed}" if seed else "")
        return " · ".join(part for part in parts if part)
