"""Which data sets there are, and whether their files are at hand. Imports no torch, so a plan can ask."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "test"]

NUM_AUGMENT_LABELS = 9
"""Numbers that tell the network how an image was augmented [P3 F.2]; `engine.data.augment` says what they
are."""


class DataNotFound(FileNotFoundError):
    """A data set's files are not under the data root, or not the published ones. The message says what to
    do."""


@dataclass(frozen=True)
class DataInfo:
    """Facts of a training set: colour channels, side in pixels, images, classes, and where it comes from."""

    channels: int
    resolution: int
    num_images: int
    num_classes: int
    source: str
    """The Python callable that provides it."""
    files: tuple[str, ...] = ()
    """Files needed under the data root. One that ends in .gz may also lie there unpacked, without that
    ending."""
    num_test_images: int = 0
    """Images of the test split; 0 when there is none."""
    test_files: tuple[str, ...] = ()
    """Files that only the test split needs."""


CATALOG: dict[str, DataInfo] = {
    "digits": DataInfo(1, 8, 1_797, 10, "sklearn.datasets.load_digits"),
    "cifar10": DataInfo(
        3, 32, 50_000, 10, "torchvision.datasets.CIFAR10",
        tuple(
            f"cifar-10-batches-py/{name}"
            for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
        ),
        num_test_images=10_000,
    ),
    # Kept at its own 28 x 28, not padded to 32. It halves twice (28, 14, 7): networks have at most three
    # levels.
    "fashion_mnist": DataInfo(
        1, 28, 60_000, 10, "torchvision.datasets.FashionMNIST",
        ("FashionMNIST/raw/train-images-idx3-ubyte.gz", "FashionMNIST/raw/train-labels-idx1-ubyte.gz"),
        num_test_images=10_000,
        test_files=("FashionMNIST/raw/t10k-images-idx3-ubyte.gz", "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"),
    ),
}  # fmt: skip
"""Every data set by name. Training and reference statistics use the training split alone, likelihoods
either."""


def find_file(root: Path, file: str) -> Path | None:
    """Where one of a data set's files lies under `root`: unpacked, or else as named; None when it does
    not."""
    candidates = (root / file.removesuffix(".gz"), root / file)
    return next((path for path in candidates if path.is_file()), None)


def missing_files(name: str, root: Path | None, split: Split = "train") -> list[str]:
    """Files of a data set that are not under `root`; empty when it is available, as digits always is."""
    info = CATALOG[name]
    files = info.files if split == "train" else info.test_files or info.files
    return [file for file in files if root is None or find_file(root, file) is None]


def data_not_found(name: str, root: Path | None, split: Split = "train") -> DataNotFound:
    """The error for a split of a data set that is not, or not wholly, under `root`."""
    looked = f"{name} is not in {root}" if root else f"{name} needs a data root and none is given"
    download = (
        f'python -c "import torchvision; {CATALOG[name].source}({str(root or "FOLDER")!r}, download=True)"'
    )
    return DataNotFound(
        f"{looked}. Missing: {', '.join(missing_files(name, root, split))}.\n"
        f"Name the folder that holds them with --data-root or ORCH_DATA_ROOT, or download them:\n  {download}"
    )
