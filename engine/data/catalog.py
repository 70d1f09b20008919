"""Whether the files of a data set are at hand. Imports no torch, so a plan can ask."""

from pathlib import Path

from engine.data.base import DataNotFound, Split, find_file
from engine.data.registry import DATASETS

NUM_AUGMENT_LABELS = 9
"""Numbers that tell the network how an image was augmented [P3 F.2];
`engine.data.augment` says what they are."""


def missing_files(name: str, root: Path | None, split: Split = "train") -> list[str]:
    """Files of a data set that are not under `root`; empty when it is available, as digits always is."""
    files = DATASETS[name].files_of(split)
    return [file for file in files if root is None or find_file(root, file) is None]


def data_not_found(name: str, root: Path | None, split: Split = "train") -> DataNotFound:
    """The error for a split of a data set that is not, or not wholly, under `root`."""
    looked = f"{name} is not in {root}" if root else f"{name} needs a data root and none is given"
    advice = "Name the folder that holds them with --data-root or ORCH_DATA_ROOT"
    if source := DATASETS[name].source:
        folder = str(root or "FOLDER")
        advice += (
            f', or download them:\n  python -c "import torchvision; {source}({folder!r}, download=True)"'
        )
    return DataNotFound(f"{looked}. Missing: {', '.join(missing_files(name, root, split))}.\n{advice}")
