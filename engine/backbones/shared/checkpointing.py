"""Gradient checkpointing: keep a block's input alone and
compute its inside again when the backward pass needs it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Blocks(nn.Module):
    """A network that is a chain of blocks, which it runs by `run`.

    With `checkpointing` a block keeps only its arguments for the backward pass. Its inside is then computed a
    second time, with the random numbers of the first, so that gradients stay the same to the last bit.
    """

    checkpointing = False

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """What `function`, a block or something that calls one, gives for `args`.
        Without gradients just the call."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=True)
        return function(*args)


def set_checkpointing(net: nn.Module, checkpointing: bool) -> None:
    """Switch gradient checkpointing of everything in `net` that is a chain of blocks."""
    for module in net.modules():
        if isinstance(module, Blocks):
            module.checkpointing = checkpointing
