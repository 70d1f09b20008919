"""What a data set tells of itself. Imports no torch, so a plan can ask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.kinds import LAST

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "test"]
"""Training and reference statistics use the training split alone, likelihoods either."""

Loader = Callable[[Path, Split], "tuple[Tensor, Tensor]"]
"""(data root, split) -> images uint8 [N, C, H, W] and labels int64 [N]; it imports what it needs itself."""


class DataNotFound(FileNotFoundError):
    """A data set's files are not under the data root, or not the published ones.
    The message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: what a plan must know of it, and how its images are read."""

    name: str
    channels: int
    """Colour channels: 1 or 3."""
    resolution: int
    """Side of an image, in pixels."""
    num_images: int
    """Images of the training split."""
    num_classes: int
    load: Loader
    source: str = ""
    """The torchvision class that downloads it, if one does; shown when its files are missing."""
    files: tuple[str, ...] = ()
    """Files needed under the data root. One that ends in
    .gz may also lie there unpacked, without that ending."""
    num_test_images: int = 0
    """Images of the test split; 0 when there is none."""
    test_files: tuple[str, ...] = ()
    """Files that only the test split needs; none when `files` hold both."""
    position: int = LAST
    """Its place in lists and messages."""

    def files_of(self, split: Split) -> tuple[str, ...]:
        """Files that a split needs."""
        return self.files if split == "train" else self.test_files or self.files

    def count(self, split: Split) -> int:
        """Images of a split."""
        return self.num_images if split == "train" else self.num_test_images


def find_file(root: Path, file: str) -> Path | None:
    """Where one of a data set's files lies under `root`: unpacked, or else as named;
    None when it does not."""
    candidates = (root / file.removesuffix(".gz"), root / file)
    return next((path for path in candidates if path.is_file()), None)
