"""Adam with EDM's learning-rate ramp and optional gradient clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engine.train_spec import Train


def build_optimizer(params: Iterable[nn.Parameter], train: Train) -> torch.optim.Adam:
    """Adam, betas (0.9, 0.999), eps 1e-8, no weight decay [P1 p11; P3 Table 7; playbook 4.0], as one fused kernel."""
    return torch.optim.Adam(params, lr=train.lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


def learning_rate(train: Train, images_shown: int) -> float:
    """Linear ramp by the images shown before the step, so the very first step has rate 0 [P3, code]."""
    if train.lr_rampup_kimg == 0:
        return train.lr
    return train.lr * min(images_shown / (train.lr_rampup_kimg * 1000), 1.0)


def optimizer_step(
    optimizer: torch.optim.Optimizer, params: list[nn.Parameter], train: Train, images_shown: int
) -> None:
    """Set the learning rate, clip if asked, and update the weights."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(train, images_shown)
    if train.grad_clip_norm is not None:
        nn.utils.clip_grad_norm_(params, train.grad_clip_norm)
    optimizer.step()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as a flat dict of tensors, ready for a safetensors file."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `optimizer_tensors`."""
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
