"""The seam between networks and everything that uses them: Denoiser(x, sigma, label) -> x0_hat."""

import torch
from torch import Tensor, nn

from engine.process.precond import Preconditioning


class Denoiser(nn.Module):
    """Any trained network with its preconditioning, as an estimate of E[x0 | x0 + sigma * eps = x].

    Samplers, objectives and metrics take this and nothing else. `nfe` counts network evaluations; set it to 0 to start
    a count. With `precision="bf16"` the network runs under bfloat16 autocast; everything around it stays as given.
    """

    def __init__(self, net: nn.Module, precond: Preconditioning, precision: str = "fp32") -> None:
        super().__init__()
        self.net = net
        self.precond = precond
        self.precision = precision
        self.nfe = 0

    def forward(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """x0_hat of noisy images `x` [B, C, H, W] at noise level `sigma` (one for all, or [B]), in the dtype of `x`."""
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(len(x))
        c = self.precond(sigma)
        c_skip, c_out, c_in = (value.to(x.dtype)[:, None, None, None] for value in (c.c_skip, c.c_out, c.c_in))
        self.nfe += 1
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.net((c_in * x).float(), c.c_noise.float(), label)
        x0_hat: Tensor = c_skip * x + c_out * output.to(x.dtype)
        return x0_hat
