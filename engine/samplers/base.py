"""What every sampler is: a frozen configuration that knows its cost, its canonical form and how to run."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from engine.frozen import Frozen

if TYPE_CHECKING:
    import torch

DenoiseFn = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(x with shape [batch, ...], sigma) -> x0_hat with the same shape."""

NoiseFn = Callable[[int], "torch.Tensor"]
"""step number -> standard normal noise with the shape of x; keyed, so calling it or not changes no other step."""


@dataclass(frozen=True)
class Canonical:
    """The one description shared by all configurations that are the same sampler, and why they are."""

    form: dict[str, Any]
    reasons: tuple[str, ...] = ()


class SamplerBase(Frozen):
    """Common fields and the four questions every sampler answers."""

    num_steps: int = Field(ge=1, le=10_000)
    """Number of integration steps N."""

    @property
    @abstractmethod
    def nfe(self) -> int:
        """Network evaluations per image."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Short name for tables and figures."""

    @abstractmethod
    def canonical(self) -> Canonical:
        """The canonical form: equal for two configurations exactly when they perform the same actions."""

    @abstractmethod
    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Turn standard normal `latents` [batch, ...] (float64) into images of the same shape."""


class SigmaGridSampler(SamplerBase):
    """A sampler that walks EDM's noise levels."""

    sigma_min: float = Field(default=0.002, gt=0)
    """Smallest noise level before 0."""
    sigma_max: float = Field(default=80.0, gt=0)
    """Largest noise level, where sampling starts."""
    rho: float = Field(default=7.0, gt=0)
    """Warp of the noise levels: larger puts more steps near sigma_min."""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels t_0 > ... > t_{N-1} > t_N = 0."""
        from engine.samplers.sigma_grid import sigma_grid

        return sigma_grid(self.num_steps, self.sigma_min, self.sigma_max, self.rho)

    def grid_form(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Canonical form of the noise levels alone: one step never uses sigma_min and rho."""
        if self.num_steps == 1:
            return {"num_steps": 1, "sigma_max": self.sigma_max}, ("one step uses neither sigma_min nor rho",)
        names = ("num_steps", "sigma_min", "sigma_max", "rho")
        return {name: getattr(self, name) for name in names}, ()
