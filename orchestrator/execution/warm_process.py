"""What a worker's process keeps between units: its device, data sets and the reference statistics."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.base import Split
from engine.device import worker_device
from engine.records import paths
from engine.records.units import DataSeen
from orchestrator.planning.unit import Unit
from orchestrator.storage.store import Store

if TYPE_CHECKING:
    import torch

    from engine.data.datasets import ImageSet
    from engine.evaluation.measured_cell import ReferenceContext


def prepare_worker(unit: Unit) -> "torch.device":
    """Fix the number of threads, which arithmetic depends on, and choose the device."""
    import torch

    torch.set_num_threads(unit.threads)
    return worker_device()


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
    from engine.evaluation.measured_cell import ReferenceContext
    from engine.metrics.features import build_extractor
    from engine.metrics.reference import load_reference

    files = Store.open(storage).references(data_name, extractor)
    images = load_data(data_name, data_root)
    built = build_extractor(extractor, images, files=files, device=worker_device())
    seen = DataSeen(name=data_name, sha256=images.sha256, num_images=len(images.images))
    files.write_record(paths.DATA, seen)
    return ReferenceContext(built, load_reference(built, images, files=files))
