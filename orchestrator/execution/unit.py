"""What a worker is told: one unit of work as plain data, readable on any machine of the cluster."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.experiment import Experiment
from engine.data.catalog import Split
from engine.sampling.image_spool import SPOOL_FOLDER, block_path
from orchestrator.planning.plan import Cell, Training
from orchestrator.storage.store import Folder, Store

if TYPE_CHECKING:
    import torch

    from engine.data.datasets import ImageSet
    from engine.evaluation.evaluate import ReferenceContext


@dataclass(frozen=True)
class Unit:
    """A training or a cell to work on; `unit_id` names its folder in the store."""

    kind: str
    unit_id: str
    train_id: str
    selection_id: str
    experiment: dict[str, Any]
    label: str
    storage: str
    data_root: str | None
    threads: int
    parent_id: str = ""
    samplers: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Of a shared pass: the cells it draws for and their samplers."""
    batches: tuple[int, ...] = ()
    """Of a shared pass: which batches of sample indices it draws."""

    @classmethod
    def of_training(cls, training: Training, storage: str, data_root: str | None, threads: int) -> "Unit":
        """The unit that trains and chooses the snapshot."""
        experiment = training.experiment.model_dump(mode="json")
        ids = (training.train_id, training.train_id, training.selection_id)
        return cls("train", *ids, experiment, training.label, storage, data_root, threads, training.parent_id)

    @classmethod
    def of_cell(cls, cell: Cell, storage: str, data_root: str | None, threads: int) -> "Unit":
        """The unit that samples and measures."""
        ids = (cell.cell_id, cell.training.train_id, cell.training.selection_id)
        experiment = cell.experiment.model_dump(mode="json")
        parent = cell.training.parent_id
        return cls("sample", *ids, experiment, cell.label, storage, data_root, threads, parent)

    @classmethod
    def of_pass(cls, cells: Sequence[Cell], batches: Sequence[int], like: "Unit") -> "Unit":
        """The unit that draws some batches of images for many cells at once; `like` is the unit of one of the
        cells."""
        first = batches[0] * cells[0].experiment.eval.batch_size
        return replace(
            like,
            kind="draw",
            unit_id=f"{cells[0].cell_id}-{batches[0]}",
            label=f"{len(cells)} samplers, images from {first:,} on",
            samplers=tuple((cell.cell_id, cell.experiment.sample.model_dump(mode="json")) for cell in cells),
            batches=tuple(batches),
        )

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        """Undo `to_json`."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """JSON text: one opaque value to Ray, which would otherwise index every field of it."""
        return json.dumps(asdict(self))

    @property
    def spec(self) -> Experiment:
        """The typed configuration."""
        return Experiment.model_validate(self.experiment)


def missing_batches(unit: Unit, folders: Sequence[Folder]) -> dict[tuple[int, ...], list[int]]:
    """What is left of a pass after an interruption: places of cells that lack the same batches -> those
    batches."""
    batch_size = unit.experiment["eval"]["batch_size"]
    left: dict[tuple[int, ...], list[int]] = {}
    for number in unit.batches:
        path = block_path(number * batch_size)
        lacking = tuple(place for place, folder in enumerate(folders) if not folder.exists(path))
        left.setdefault(lacking, []).append(number)
    return {lacking: batches for lacking, batches in left.items() if lacking}


def has_spooled_images(folder: Folder) -> bool:
    """Whether images of a cell wait to be measured: some or all, from a pass that ran before."""
    return SPOOL_FOLDER in folder.folders()


def prepare_worker(unit: Unit) -> "torch.device":
    """Fix the number of threads, which arithmetic depends on, and choose the device."""
    import torch

    torch.set_num_threads(unit.threads)
    return worker_device()


def worker_device() -> "torch.device":
    """This process's GPU if it was given one, else the CPU; from then on its arithmetic repeats and is not
    cut short.

    Numbers that are kept in the store must not depend on which command measured them.
    """
    import torch

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # as EDM measures; matrix products are full precision by default
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def load_data(data_name: str, data_root: str | None, split: Split = "train") -> "ImageSet":
    """A split of a data set, kept for the next unit of this process."""
    return _kept_data(data_name, data_root, split)


@lru_cache(maxsize=2)
def _kept_data(data_name: str, data_root: str | None, split: Split) -> "ImageSet":
    """The same for calls that name every argument in the same way, which the cache tells apart otherwise."""
    from engine.data.datasets import load_images

    return load_images(data_name, Path(data_root) if data_root else None, split)


@lru_cache(maxsize=1)
def load_reference_context(
    storage: str, data_name: str, extractor: str, data_root: str | None
) -> "ReferenceContext":
    """What samples are compared with, kept for the next unit of this process."""
    from engine.evaluation.evaluate import ReferenceContext
    from engine.metrics.features import build_extractor
    from engine.metrics.reference import load_reference

    files, images = Store.open(storage).references(data_name, extractor), load_data(data_name, data_root)
    built = build_extractor(extractor, images, files=files, device=worker_device())
    files.write_json(
        "data.json", {"name": data_name, "sha256": images.sha256, "num_images": len(images.images)}
    )
    return ReferenceContext(built, load_reference(built, images, files=files))
