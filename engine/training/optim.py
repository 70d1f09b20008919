"""Adam or AdamW, the learning rate's ramp and decay, and one optimizer step."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engine.config.train import Train
from engine.training.clip import clip_gradients, skipped
from engine.training.precision import LossScaler


def build_optimizer(params: Iterable[nn.Parameter], train: Train) -> torch.optim.Adam:
    """Adam or AdamW as one fused kernel [P1 p11; P3 Table 7; playbook 4.0];
    weight decay acts on every parameter."""
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(
        params,
        lr=train.lr,
        betas=train.adam_betas,
        eps=train.adam_eps,
        weight_decay=train.weight_decay,
        fused=True,
    )


def learning_rate(train: Train, images_shown: int) -> float:
    """Rate of a step by the images shown before it: ramp times decay.

    So the very first step has rate 0 where there is a ramp [P3, code]. Without
    one it has the whole rate, as P1 and DiT, unless `lr_first_step` is zero:
    EDM's min(images / max(ramp, 1e-8), 1) is 0 there whatever the ramp.
    """
    if images_shown == 0 and train.lr_first_step == "zero":
        return 0.0
    ramp = min(images_shown / (train.lr_rampup_kimg * 1000), 1.0) if train.lr_rampup_kimg else 1.0
    return train.lr * ramp * lr_decay_factor(train, images_shown)


def lr_decay_factor(train: Train, images_shown: int) -> float:
    """What the decay leaves of the learning rate, from 1 down.

    inverse_sqrt is 1 / sqrt(max(n / n_ref, 1)) [EDM2]. cosine and linear fall to 0 at the end of training,
    from the end of the ramp.
    """
    if train.lr_decay == "none":
        return 1.0
    if train.lr_decay_kimg is not None:
        return 1 / math.sqrt(max(images_shown / (train.lr_decay_kimg * 1000), 1.0))
    start, end = train.lr_rampup_kimg * 1000, train.num_steps * train.batch_size
    progress = min(max((images_shown - start) / (end - start), 0.0), 1.0)
    return 0.5 * (1 + math.cos(math.pi * progress)) if train.lr_decay == "cosine" else 1 - progress


def optimizer_step(
    optimizer: torch.optim.Adam,
    params: list[nn.Parameter],
    train: Train,
    images_shown: int,
    scaler: LossScaler | None = None,
) -> Tensor:
    """Set the learning rate, unscale, clip and update the weights; returns the gradient norm before clipping.

    With a `scaler` a step whose gradients are not finite leaves weights and optimizer as
    they are, and so does one that the clipping rule skips. Nothing waits for the device.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(train, images_shown)
    found_inf = scaler.unscale_and_check(params) if scaler is not None else None
    norm = clip_gradients(params, train.grad_clip)
    too_large = skipped(norm, train.grad_clip)
    left_out = found_inf if too_large is None else too_large
    if found_inf is not None and too_large is not None:
        left_out = torch.maximum(found_inf, too_large)
    # The fused kernel skips the step where this is 1, without a wait for the GPU.
    optimizer.found_inf = left_out  # type: ignore[attr-defined]
    optimizer.step()
    if scaler is not None and found_inf is not None:
        scaler.update(found_inf)
    return norm


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
