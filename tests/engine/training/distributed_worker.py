"""One of several processes that share a training: FOLDER RANK WORLD_SIZE. They meet through a file in FOLDER."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from engine.data.datasets import load_images
from engine.files import LocalFiles
from engine.spec import Experiment
from engine.training.loop import Tick, train


def main(folder: Path, rank: int, world: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    curves: list[tuple[float, str, float]] = []

    def report(tick: Tick) -> None:
        curves[:] = tick.curves

    experiment = Experiment.model_validate_json((folder / "experiment.json").read_text())
    train(experiment, load_images("digits", None), LocalFiles(folder / "two"), report, torch.device("cpu"))
    if rank == 0:
        (folder / "curves.json").write_text(json.dumps(curves))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
