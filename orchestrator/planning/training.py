"""One model to train: its identity, its configuration and what of it the sweep varies."""

from dataclasses import dataclass

from engine.config.experiment import Experiment
from engine.records import paths
from engine.records.record import Axes
from reports.formatting import value_text


@dataclass(frozen=True)
class Training:
    """One model to train and the choice of its snapshot."""

    train_id: str
    selection_id: str
    experiment: Experiment
    axes: Axes
    """The swept fields that make this training differ from the sweep's others."""
    off_playbook: tuple[str, ...] = ()
    parent_id: str = ""
    """The training it starts from."""

    @property
    def done_file(self) -> str:
        """File that says the training is finished."""
        return paths.training_done(self.train_id)

    @property
    def selection_file(self) -> str:
        """File that says its snapshot is chosen under the sweep's protocol."""
        return paths.training_selection(self.train_id, self.selection_id)

    @property
    def label(self) -> str:
        """The swept fields in words."""
        seed = self.experiment.train.seed
        return describe({**self.axes, "seed": seed} if seed else self.axes) or "the recipe"


def describe(axes: Axes) -> str:
    """Swept fields in short words, a kind by its section: `channels 32, dropout 0.1, weighting min_snr`."""
    return ", ".join(f"{_name(field)} {value_text(value)}" for field, value in axes.items())


def _name(field: str) -> str:
    return field.removesuffix(".kind").rsplit(".", 1)[-1]
