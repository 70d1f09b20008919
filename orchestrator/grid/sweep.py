"""A checked grid file with its anchor, and one point of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engine.config.experiment import Experiment
from engine.samplers.registry import Sampler
from orchestrator.grid.entries import combinations
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.override import section_type
from orchestrator.grid.points import swept_fields
from orchestrator.grid.yaml_source import Document


@dataclass(frozen=True)
class Sweep:
    """A checked grid file and its anchor: the recipe after `set` and the smoke overlay."""

    grid: Grid
    anchor: Experiment
    path: Path
    smoke: bool
    document: Document
    chosen: "tuple[Point, ...] | None" = None
    """Points that were picked from the grid's; None is the whole grid."""

    @property
    def source(self) -> str:
        """Text of the grid file."""
        return self.document.text

    @property
    def output_name(self) -> str:
        """Name of the sweep's folder and MLflow experiment; a smoke run has its own."""
        return f"{self.grid.name}-smoke" if self.smoke else self.grid.name

    @property
    def is_search(self) -> bool:
        """Whether which points run depends on what others gave."""
        return self.chosen is None and (self.grid.search is not None or self.grid.enumerate == "coordinate")

    @cached_property
    def swept(self) -> tuple[str, ...]:
        """Fields that vary, in the order of the file."""
        return swept_fields(self.grid)

    @cached_property
    def samplers(self) -> tuple[tuple[Overrides, Sampler | None], ...]:
        """The panel: its fields as the grid gives them, and the sampler; else the recipe's own sampler."""
        found: list[tuple[Overrides, Sampler | None]] = []
        for index, entry in enumerate(self.grid.panel):
            for combination in combinations(entry, index):
                fields = {key: value for key, (_, value) in combination.items()}
                sampler = section_type("sample").validate_python(fields)
                found.append(({f"sample.{key}": value for key, value in fields.items()}, sampler))
        return tuple(found) or (({}, None),)


@dataclass(frozen=True)
class Point:
    """One point of a grid, ready to run."""

    axes: Overrides
    """The varied fields and their values here; a field this kind of section lacks is left out."""
    experiment: Experiment
    """The whole configuration, seeds and linked values included."""
    linked: dict[str, float]
    """Fields computed by a rule, and their values."""
    off_playbook: tuple[str, ...]
    """Values the grid gave that the papers do not use, such as `model.channels = 16`."""
