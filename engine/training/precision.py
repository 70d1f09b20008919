"""The loss scale of half-precision training, and what is raised when training has diverged.

fp16 cannot hold numbers below 6e-8, and gradients are often smaller. So the
loss is multiplied by a large scale before the backward pass and the
gradients are divided by it afterwards, in fp32 and before they are clipped.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

INITIAL_LOG2_SCALE = 20.0
GROWTH = 1e-3
MAX_SKIPPED_STEPS = 100


class NonFiniteLoss(RuntimeError):
    """Training diverged: the loss, the weights, or the
    gradients of many steps in a row became NaN or infinite."""


class LossScaler:
    """A dynamic loss scale, kept as its base-2 logarithm [P1, code].

    It starts at 2^20. The logarithm grows by 1e-3 a good step and falls by 1 when a gradient is not finite;
    such a step is skipped. Everything stays on the device; only `check`, `state` and `restore` wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.log2_scale = torch.tensor(INITIAL_LOG2_SCALE, dtype=torch.float64, device=device)
        self.skipped = torch.zeros((), dtype=torch.float64, device=device)

    @property
    def scale(self) -> Tensor:
        """What to multiply the loss by before the backward pass: a scalar fp32 tensor."""
        return self.log2_scale.exp2().float()

    @torch.no_grad()
    def unscale_and_check(self, params: Iterable[nn.Parameter]) -> Tensor:
        """Divide the gradients by the scale in place; returns a scalar tensor, 1 if one of them is not
        finite, else 0.

        Workers that share a batch must have summed their gradients before, so that all of them decide alike.
        """
        grads = [param.grad for param in params if param.grad is not None]
        found_inf = torch.zeros((), device=self.log2_scale.device)
        torch._amp_foreach_non_finite_check_and_unscale_(grads, found_inf, self.scale.reciprocal())
        return found_inf

    def update(self, found_inf: Tensor) -> None:
        """Adjust the scale after a step that was skipped (`found_inf` 1) or made (0)."""
        self.log2_scale += torch.where(found_inf > 0, -1.0, GROWTH)
        self.skipped = torch.where(found_inf > 0, self.skipped + 1, 0.0)

    def check(self) -> None:
        """Raise NonFiniteLoss when more than 100 steps in a row were skipped. Waits for the device."""
        if self.skipped > MAX_SKIPPED_STEPS:
            raise NonFiniteLoss(
                f"the gradients of the last {int(self.skipped)} steps were not finite; "
                f"the loss scale fell to 2^{float(self.log2_scale):.1f}"
            )

    def state(self) -> dict[str, float]:
        """Plain numbers for the checkpoint."""
        return {"log2_scale": float(self.log2_scale), "skipped": float(self.skipped)}

    def restore(self, state: dict[str, float]) -> None:
        """Undo `state`, bit for bit."""
        self.log2_scale.fill_(state["log2_scale"])
        self.skipped.fill_(state["skipped"])


def loss_scaler(precision: str, device: torch.device) -> LossScaler | None:
    """A fresh loss scaler where the precision needs one: fp16 does, bf16 and fp32 have the range."""
    return LossScaler(device) if precision == "fp16" else None
