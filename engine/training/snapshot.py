"""Files of a training: snapshots (weights kept for reporting) and the checkpoint (state for resuming).

Both are safetensors: tensors and a JSON header, nothing that runs code when it is read.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.files import Files, pack, unpack
from engine.training.ema import Ema
from engine.training.optim import optimizer_tensors, restore_optimizer

CHECKPOINT = "checkpoint/state.safetensors"


@dataclass
class TrainingState:
    """Everything that changes during training. `curves` holds rows (kimg, name, value)."""

    net: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    step: int = 0
    curves: list[tuple[float, str, float]] = field(default_factory=list)
    seconds: float = 0.0


def snapshot_path(images_shown: int) -> str:
    """Where the snapshot taken after that many images lies in the training's folder."""
    return f"snapshots/images_{images_shown:010d}.safetensors"


def save_snapshot(files: Files, state: TrainingState, images_shown: int) -> None:
    """Keep the averaged weights for reporting."""
    files.write(
        snapshot_path(images_shown), pack(state.ema.net.state_dict(), {"images_shown": images_shown, "weights": "ema"})
    )


def load_snapshot(files: Files, images_shown: int, net: nn.Module) -> None:
    """Load a snapshot's weights into `net`; FileNotFoundError when there is none."""
    data = files.read(snapshot_path(images_shown))
    if data is None:
        raise FileNotFoundError(snapshot_path(images_shown))
    net.load_state_dict(unpack(data)[0])


def save_checkpoint(files: Files, state: TrainingState) -> None:
    """Replace the checkpoint by the present state."""
    groups = {
        "net": state.net.state_dict(),
        "ema": state.ema.net.state_dict(),
        "optimizer": optimizer_tensors(state.optimizer),
    }
    tensors = {f"{group}/{name}": tensor for group, entries in groups.items() for name, tensor in entries.items()}
    metadata = {"step": state.step, "curves": state.curves, "seconds": state.seconds}
    files.write(CHECKPOINT, pack(tensors, metadata))


def restore_checkpoint(files: Files, state: TrainingState) -> bool:
    """Load the checkpoint into `state`; False when there is none."""
    data = files.read(CHECKPOINT)
    if data is None:
        return False
    tensors, metadata = unpack(data)
    groups: dict[str, dict[str, Tensor]] = {"net": {}, "ema": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        group, name = key.split("/", 1)
        groups[group][name] = tensor
    state.net.load_state_dict(groups["net"])
    state.ema.net.load_state_dict(groups["ema"])
    restore_optimizer(state.optimizer, groups["optimizer"])
    state.step, state.seconds = metadata["step"], metadata["seconds"]
    state.curves = [(kimg, name, value) for kimg, name, value in metadata["curves"]]
    return True
