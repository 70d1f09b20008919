"""Files of a training: snapshots (weights kept for reporting) and the checkpoint (state for resuming).

Both are safetensors: tensors and a JSON header, nothing that runs code when it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.config.train import Precision, Train
from engine.config.weights import (
    EmaWeights,
    PowerWeights,
    RawWeights,
    Weights,
    canonical_weights,
    check_weights,
    tracked_weights,
)
from engine.files import Files, pack, unpack
from engine.records import paths
from engine.records.headers import CheckpointHeader, CurveRow, SnapshotHeader
from engine.training.ema import EmaSet
from engine.training.levels import LevelDrawer
from engine.training.optim import build_optimizer, optimizer_tensors, restore_optimizer
from engine.training.posthoc import Profile, mix, mixing_weights
from engine.training.precision import LossScaler, loss_scaler

CHECKPOINT = paths.CHECKPOINT


@dataclass
class TrainingState:
    """Everything that changes during training. `curves` holds rows (kimg, name, value)."""

    net: nn.Module
    ema: EmaSet
    optimizer: torch.optim.Adam
    levels: LevelDrawer
    scaler: LossScaler | None = None
    precision: Precision = "fp32"
    """What the network computes in now; after a fall back to fp32 this is not what the settings say."""
    step: int = 0
    curves: list[CurveRow] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def start(cls, net: nn.Module, train: Train, levels: LevelDrawer) -> "TrainingState":
        """The state before the first step; `net` is on the device where it will be trained."""
        optimizer = build_optimizer(net.parameters(), train)
        scaler = loss_scaler(train.precision, next(net.parameters()).device)
        return cls(net, EmaSet(net, train), optimizer, levels, scaler, train.precision)

    def fall_back_to_fp32(self) -> None:
        """Go on in single precision, which needs no loss scale."""
        self.precision = "fp32"
        self.scaler = None


def snapshot_path(images_shown: int, weights: Weights | None = None) -> str:
    """Where a snapshot's weights lie in the training's folder; None is the primary average."""
    average = "" if weights is None or weights == EmaWeights() else weights.name
    return paths.snapshot(images_shown, average)


def save_snapshot(files: Files, state: TrainingState, images_shown: int) -> None:
    """Keep every average for reporting, and the weights themselves where the settings ask for it."""
    kept: list[tuple[Weights, nn.Module]] = [
        (weights, state.ema.averages[weights.name].net) for weights in state.ema.tracked
    ]
    if state.ema.train.keep_raw:
        kept.append((RawWeights(), state.net))
    fell_back = state.precision != state.ema.train.precision
    for weights, net in kept:
        header = SnapshotHeader(images_shown=images_shown, weights=weights.name, fell_back_to_fp32=fell_back)
        files.write(snapshot_path(images_shown, weights), pack(net.state_dict(), header.to_json()))


def load_snapshot(
    files: Files, train: Train, images_shown: int, net: nn.Module, weights: Weights
) -> Precision:
    """Load a snapshot's weights into `net`; a power-function average that was not tracked is reconstructed.

    Returns the precision they are to be used in: fp32 if the training had fallen
    back to it, else the settings'. Raises FileNotFoundError when a snapshot is
    missing, ValueError when the training does not keep such weights.
    """
    check_weights(weights, train)
    weights = canonical_weights(weights, train)
    if isinstance(weights, PowerWeights) and weights not in tracked_weights(train):
        header = load_posthoc(files, train, images_shown, net, weights.sigma_rel)
    else:
        tensors, header = read_snapshot(files, images_shown, weights)
        net.load_state_dict(tensors)
    return "fp32" if header.fell_back_to_fp32 else train.precision


def load_posthoc(
    files: Files, train: Train, images_shown: int, net: nn.Module, sigma_rel: float
) -> SnapshotHeader:
    """Load the power-function average of an untracked width, fitted to all tracked ones up to that snapshot.

    Parameters are mixed; buffers, and the header that is returned, are those of the snapshot itself.
    """
    times = [images for images in train.snapshot_images if images <= images_shown]
    tracked = [Profile(width, images) for width in train.ema_power for images in times]
    names = {name for name, _ in net.named_parameters()}

    def parts() -> Iterator[dict[str, Tensor]]:
        for profile in tracked:
            tensors, _ = read_snapshot(files, profile.images_shown, PowerWeights(sigma_rel=profile.sigma_rel))
            yield {name: tensors[name] for name in names}

    whole, header = read_snapshot(files, images_shown, PowerWeights(sigma_rel=train.ema_power[0]))
    net.load_state_dict(whole)
    mixture = mix(parts(), mixing_weights(tracked, Profile(sigma_rel, images_shown)))
    net.load_state_dict(mixture, strict=False)
    return header


def read_snapshot(
    files: Files, images_shown: int, weights: Weights
) -> tuple[dict[str, Tensor], SnapshotHeader]:
    """Tensors and header of one snapshot file; FileNotFoundError when there is none."""
    path = snapshot_path(images_shown, weights)
    data = files.read(path)
    if data is None:
        raise FileNotFoundError(path)
    tensors, header = unpack(data)
    return tensors, SnapshotHeader.from_json(header)


def save_checkpoint(files: Files, state: TrainingState) -> None:
    """Replace the checkpoint by the present state."""
    averages = {name: average.net.state_dict() for name, average in state.ema.averages.items()}
    groups = {
        "net": state.net.state_dict(),
        "optimizer": optimizer_tensors(state.optimizer),
        "levels": state.levels.tensors(),
        **averages,
    }
    tensors = {
        f"{group}/{name}": tensor for group, entries in groups.items() for name, tensor in entries.items()
    }
    header = CheckpointHeader(
        step=state.step,
        curves=tuple(state.curves),
        seconds=state.seconds,
        precision=state.precision,
        scaler=None if state.scaler is None else state.scaler.state(),
    )
    files.write(CHECKPOINT, pack(tensors, header.to_json()))


def restore_checkpoint(files: Files, state: TrainingState) -> bool:
    """Load the checkpoint into `state`; False when there is none."""
    data = files.read(CHECKPOINT)
    if data is None:
        return False
    tensors, written = unpack(data)
    header = CheckpointHeader.from_json(written)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = tensor
    state.net.load_state_dict(groups["net"])
    for name, average in state.ema.averages.items():
        average.net.load_state_dict(groups[name])
    restore_optimizer(state.optimizer, groups.get("optimizer", {}))
    state.levels.restore(groups.get("levels", {}))
    state.step = header.step
    state.seconds = header.seconds
    state.curves = list(header.curves)
    if header.precision == "fp32":
        state.fall_back_to_fp32()
    elif state.scaler is not None:
        state.scaler.restore(header.scaler or {})
    return True
