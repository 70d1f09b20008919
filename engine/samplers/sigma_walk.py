"""What Euler, Heun and EDM's samplers share: a walk down a grid of noise levels, from the largest to 0."""

from typing import Any

from pydantic import Field, model_validator

from engine.samplers.base import SamplerBase
from engine.samplers.sigma_grid import IDDPM_MAX_STEPS, TABLE_GRIDS, GridName, sigma_grid


class SigmaGridSampler(SamplerBase):
    """A sampler that walks noise levels from the largest down to 0."""

    grid: GridName = "edm"
    """Which noise levels: EDM's, set by the three fields below, or those of another column of P3's Table
    1."""
    sigma_min: float = Field(default=0.002, gt=0)
    """Smallest noise level before 0. Grid edm only, as the next two."""
    sigma_max: float = Field(default=80.0, gt=0)
    """Largest noise level, where sampling starts."""
    rho: float = Field(default=7.0, gt=0)
    """Warp of the noise levels: larger puts more steps near sigma_min."""

    @model_validator(mode="after")
    def _levels_fall(self) -> "SigmaGridSampler":
        if self.grid == "iddpm" and self.num_steps > IDDPM_MAX_STEPS:
            raise ValueError(
                f"grid iddpm has {IDDPM_MAX_STEPS} noise levels, fewer than num_steps {self.num_steps}"
            )
        if self.grid == "edm" and self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels t_0 > ... > t_{N-1} > t_N = 0."""
        if self.grid == "edm":
            return sigma_grid(self.num_steps, self.sigma_min, self.sigma_max, self.rho)
        return TABLE_GRIDS[self.grid](self.num_steps)

    @property
    def suffix(self) -> str:
        """What a label says of the grid and the guidance: nothing when they are EDM's and plain."""
        return ("" if self.grid == "edm" else f" {self.grid} grid") + super().suffix

    def grid_form(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Canonical form of the noise levels alone, and which fields do nothing to them.

        One or two noise levels above 0 are told by themselves: how more would be spread between them says
        nothing.
        """
        names, reasons = ("sigma_max", "sigma_min", "rho"), []
        if self.grid != "edm":
            fields = type(self).model_fields
            inert = [name for name in names if getattr(self, name) != fields[name].default]
            reasons += [f"grid {self.grid} is P3's table: {', '.join(inert)} do nothing"] if inert else []
        elif self.num_steps == 1:
            reasons.append("one step uses neither sigma_min nor rho")
        elif self.num_steps == 2:
            reasons.append("two steps go from sigma_max to sigma_min to 0: rho does nothing")
        if self.num_steps <= 2:
            ends = dict(zip(names, self.sigmas[:-1], strict=False))
            return {"num_steps": self.num_steps, **ends}, tuple(reasons)
        settings = (
            {name: getattr(self, name) for name in names} if self.grid == "edm" else {"grid": self.grid}
        )
        return {"num_steps": self.num_steps, **settings}, tuple(reasons)
