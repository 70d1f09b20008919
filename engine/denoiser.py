"""The seam between networks and everything that uses them: Denoiser(x, sigma, label) -> x0_hat."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from engine.posterior import Posterior
from engine.process.precond import Coefficients, Preconditioning


class VarianceModel(Protocol):
    """Anything that knows the diagonal of Cov[x0 | x] beside a trained network: a table, or a head's
    output."""

    def __call__(self, sigma: Tensor, head: Tensor | None, eps_hat: Tensor | None = None) -> Tensor:
        """Variance of x0 given x at noise levels sigma [B], float64, broadcastable to [B, C, H, W].

        `head` is the output of the network's covariance head [B, C, H, W], or None when it has none;
        `eps_hat` is the noise that the network predicts [B, C, H, W].
        """


@dataclass(frozen=True)
class Output:
    """A network's raw output at x: its target, what it says
    of the reverse variance (or None), its coefficients."""

    target: Tensor
    """[B, C, H, W], float32: p * x0 + q * eps as predicted."""
    variance: Tensor | None
    """[B, C, H, W], float32: the second half of the output's channels, iDDPM's coordinate v."""
    head: Tensor | None
    """[B, C, H, W], float32: what a covariance head says, OCM's h."""
    coefficients: Coefficients
    """Each [B], float64."""


class Denoiser(nn.Module):
    """Any trained network with its preconditioning, as an estimate of E[x0 | x0 + sigma * eps = x].

    Samplers, objectives and metrics take this and nothing else. `nfe` counts network evaluations; set it to 0
    to start a count. With `precision` bf16 or fp16 the network runs under autocast; everything around it
    stays as given.
    """

    def __init__(
        self,
        net: nn.Module,
        precond: Preconditioning,
        precision: str = "fp32",
        variance_model: VarianceModel | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.precond = precond
        self.precision = precision
        self.variance_model = variance_model
        self.nfe = 0

    def forward(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """x0_hat of noisy images `x` [B, C, H, W] at noise level
        `sigma` (one for all, or [B]), in the dtype of `x`."""
        return self._x0_hat(x, self.output(x, levels(sigma, x), label))

    def posterior(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Posterior:
        """x0_hat and all that is known of the variance, from one evaluation."""
        sigma = levels(sigma, x)
        output = self.output(x, sigma, label)
        fraction = None if output.variance is None else output.variance.to(x.dtype)
        x0_variance = None
        if self.variance_model is not None:
            eps_hat = predicted_noise(output, x, sigma)
            x0_variance = self.variance_model(sigma, output.head, eps_hat).to(x.dtype)
        return Posterior(self._x0_hat(x, output), fraction, x0_variance)

    def probe(
        self, x: Tensor, sigma: Tensor | float, signs: Tensor, label: Tensor | None = None
    ) -> Posterior:
        """x0_hat, and one estimate of the diagonal of Cov[x0 | x] by random `signs` v with the shape of x.

        Cov[x0 | x] = sigma^2 d x0_hat / dx, so sigma^2 v grad_x(v . x0_hat) has the diagonal for its mean over v
        [P6, code]. It may be negative. Takes a pass of the network forwards and one back: two evaluations.
        """
        with torch.inference_mode(False), torch.enable_grad():
            # What autograd keeps must not come from inference mode, which copies leave.
            x, signs, sigma = x.clone().requires_grad_(), signs.clone(), levels(sigma, x).clone()
            label = None if label is None else label.clone()
            x0_hat = self._x0_hat(x, self.output(x, sigma, label))
            (gradient,) = torch.autograd.grad((signs * x0_hat).sum(), x)
        self.nfe += 1
        return Posterior(x0_hat.detach(), x0_variance=columns(sigma**2, x) * signs * gradient)

    def output(self, x: Tensor, sigma: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Output:
        """Evaluate the network on `x` [B, C, H, W] at `sigma`
        [B], with `label` [B] and `augment` [B, 9] or None."""
        c = self.precond(sigma)
        self.nfe += 1
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None):
            raw = self.net((columns(c.c_in, x) * x).float(), c.c_noise.float(), label, augment)
        predicted, head = raw if isinstance(raw, tuple) else (raw, None)
        target, variance = (*predicted.split(x.shape[1], dim=1), None)[:2]
        variance, head = (None if part is None else part.float() for part in (variance, head))
        return Output(target.float(), variance, head, c)

    @property
    def packs_steps(self) -> bool:
        """Whether images at several noise levels may share a batch:
        not with a network that says otherwise."""
        return all(getattr(module, "packs_steps", True) for module in self.net.modules())

    @staticmethod
    def _x0_hat(x: Tensor, output: Output) -> Tensor:
        c = output.coefficients
        return columns(c.c_skip, x) * x + columns(c.c_out, x) * output.target.to(x.dtype)


def predicted_noise(output: Output, x: Tensor, sigma: Tensor) -> Tensor:
    """eps_hat = (x - x0_hat) / sigma at `sigma` [B]: ((1 - c_skip) x - c_out T)
    / sigma, which loses no digits where sigma is small."""
    c = output.coefficients
    return columns((1 - c.c_skip) / sigma, x) * x - columns(c.c_out / sigma, x) * output.target.to(x.dtype)


def levels(sigma: Tensor | float, x: Tensor) -> Tensor:
    """Noise levels as float64 [B] beside images `x`."""
    return torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(len(x))


def columns(values: Tensor, like: Tensor) -> Tensor:
    """One value per image [B] as a column [B, 1, 1, 1] in the dtype of `like`."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
