"""Where samplers are held to the noise levels that a network was shown, in words [playbook 5.3]."""

from collections.abc import Iterable

from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training


def level_notes(plan: Plan) -> tuple[str, ...]:
    """A sentence for each way in which noise levels were raised or lowered, with the samplers concerned."""
    return tuple(
        f"{_counted(names)}: {note}" for note, names in _names_of_notes(plan.trainings, plan.cells).items()
    )


def _names_of_notes(trainings: Iterable[Training], cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Note -> the samplers of which it is true, the one that chooses snapshots first."""
    found: dict[str, dict[str, None]] = {}
    for training in trainings:
        sampler = training.experiment.selection_sampler
        found.setdefault(sampler.levels_note, {})[f"snapshots chosen by {sampler.label}"] = None
    for cell in cells:
        sampler = cell.experiment.sample
        found.setdefault(sampler.levels_note, {})[sampler.label] = None
    found.pop("", None)
    return {note: list(names) for note, names in found.items()}


def _counted(names: list[str], shown: int = 3) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
