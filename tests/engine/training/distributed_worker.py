"""One of several processes that share trainings: FOLDER RANK WORLD_SIZE. They meet through a file in FOLDER.

Every folder FOLDER/NAME with an experiment.json is trained into FOLDER/NAME/shared, from FOLDER/NAME/parent.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from engine.config.experiment import Experiment
from engine.data.datasets import ImageSet, load_images
from engine.files import LocalFiles
from engine.samplers.heun import Heun
from engine.training import panel
from engine.training.loop import Tick, train


def main(folder: Path, rank: int, world: int) -> None:
    torch.set_num_threads(1)
    panel.PANEL_SAMPLER = Heun(
        num_steps=1
    )  # the first process makes pictures while the others wait: short ones here
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    images = load_images("digits", None)
    for file in sorted(folder.glob("*/experiment.json")):
        train_one(file.parent, images, rank)
    dist.destroy_process_group()


def train_one(folder: Path, images: ImageSet, rank: int) -> None:
    curves: list[tuple[float, str, float]] = []

    def report(tick: Tick) -> None:
        curves[:] = tick.curves

    experiment = Experiment.model_validate_json((folder / "experiment.json").read_text())
    parent = LocalFiles(folder / "parent")
    train(experiment, images, LocalFiles(folder / "shared"), report, torch.device("cpu"), parent)
    if rank == 0:
        (folder / "curves.json").write_text(json.dumps(curves))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
