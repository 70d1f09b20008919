"""What Euler, Heun and EDM's samplers share: a walk down a grid of noise levels, from the largest to 0."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, model_validator

from engine.conflicts import ConfigConflict
from engine.process.schedules import NoiseRange
from engine.samplers.base import NetworkFacts, SamplerBase
from engine.samplers.sigma_grid import (
    EDM_LEVELS,
    IDDPM_LENGTH,
    IDDPM_LEVELS,
    IDDPM_MIN_RATIO,
    IDDPM_OFFSET,
    VE_SIGMA_MAX,
    VE_SIGMA_MIN,
    VP_LAST_TIME,
    GridName,
    IddpmTable,
    iddpm_grid,
    iddpm_levels,
    polyexponential_grid,
    sigma_grid,
    ve_grid,
    vp_fault,
    vp_grid,
    vp_sigma,
)
from engine.samplers.trained_levels import outside

GRID_SETTINGS = {
    "edm": ("rho",),
    "polyexponential": ("polyexponential_rho",),
    "vp": ("epsilon_s",),
    "ve": (),
    "iddpm": ("iddpm_length", "iddpm_min_ratio", "iddpm_offset"),
}
"""The fields beside the range that act on each grid."""


class SigmaGridSampler(SamplerBase):
    """A sampler that walks noise levels from the largest down to 0."""

    grid: GridName = "edm"
    """Which noise levels: EDM's, those of another column
    of P3's Table 1, or k-diffusion's polyexponential."""
    sigma_min: float | None = Field(default=None, gt=0)
    """Smallest noise level before 0. None is the grid's own, 0.002 on edm, or what the network was shown."""
    sigma_max: float | None = Field(default=None, gt=0)
    """Largest noise level, where sampling starts.
    None is the grid's own, 80 on edm, or what the network was shown."""
    rho: float = Field(default=7.0, gt=0)
    """Warp of the noise levels: larger puts more steps near sigma_min. Grid edm only."""
    polyexponential_rho: float = Field(default=1.0, gt=0)
    """k-diffusion's rho of grid polyexponential: 1 is even in ln sigma."""
    epsilon_s: float = Field(default=VP_LAST_TIME, gt=0, lt=1)
    """Last time above 0 of grid vp [P3 Table 1]."""
    iddpm_length: int = Field(default=IDDPM_LENGTH, ge=2, le=100_000)
    """M: length of the table of grid iddpm [P3 Table 1]."""
    iddpm_min_ratio: float = Field(default=IDDPM_MIN_RATIO, gt=0, lt=1)
    """C_1: smallest ratio of neighbouring alpha_bar in that table."""
    iddpm_offset: float = Field(default=IDDPM_OFFSET, ge=0)
    """C_2: offset of the cosine of that table."""

    @model_validator(mode="after")
    def _levels_fall(self) -> "SigmaGridSampler":
        fault = self._fault_of(self.written_levels)
        if fault:
            raise ValueError(fault)
        return self

    def _fault_of(self, levels: NoiseRange) -> str | None:
        """Why there are no such noise levels between these two."""
        low, high = levels
        if low >= high:
            return f"sigma_min {low:g} is not below sigma_max {high:g}"
        if self.has_vp_times and (fault := vp_fault(levels, self.epsilon_s)):
            return fault
        if self.grid != "iddpm":
            return None
        count = len(iddpm_levels(levels, self._table))
        few = f"grid iddpm has {count} noise levels, fewer than num_steps {self.num_steps}"
        return few if self.num_steps > count else None

    @property
    def has_vp_times(self) -> bool:
        """Whether its noise levels are those of a variance-preserving process at times from epsilon_s to 1."""
        return self.grid == "vp"

    @property
    def default_levels(self) -> NoiseRange:
        """The grid's own range [P3 Table 1; EDM's ablation_sampler]."""
        if self.grid == "vp":
            return vp_sigma(self.epsilon_s), vp_sigma(1.0)
        own = {"ve": (VE_SIGMA_MIN, VE_SIGMA_MAX), "iddpm": IDDPM_LEVELS}
        return own.get(self.grid, EDM_LEVELS)

    @property
    def written_levels(self) -> NoiseRange:
        """sigma_min and sigma_max as written, or the grid's own."""
        low, high = self.default_levels
        return self.sigma_min or low, self.sigma_max or high

    @property
    def walked_levels(self) -> NoiseRange:
        """The range of the noise levels: as written, within what the network was shown [playbook 5.3]."""
        low, high = self.written_levels
        if self.trained_levels is None:
            return low, high
        return max(low, self.trained_levels[0]), min(high, self.trained_levels[1])

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels t_0 > ... > t_{N-1} > t_N = 0."""
        return self._sigmas(self.walked_levels)

    def _sigmas(self, levels: NoiseRange) -> tuple[float, ...]:
        if self.grid == "edm":
            return sigma_grid(self.num_steps, *levels, self.rho)
        if self.grid == "polyexponential":
            return polyexponential_grid(self.num_steps, *levels, self.polyexponential_rho)
        if self.grid == "vp":
            return vp_grid(self.num_steps, levels, self.epsilon_s)
        if self.grid == "ve":
            return ve_grid(self.num_steps, *levels)
        return iddpm_grid(self.num_steps, levels, self._table)

    @property
    def _table(self) -> IddpmTable:
        return IddpmTable(self.iddpm_length, self.iddpm_min_ratio, self.iddpm_offset)

    @property
    def own_levels(self) -> NoiseRange:
        """The lowest and highest noise level of the grid as written; a single step asks at one."""
        *levels, _ = self._sigmas(self.written_levels)
        return levels[-1], levels[0]

    @property
    def held_levels(self) -> NoiseRange:
        """The lowest and highest noise level of the grid that is walked."""
        *levels, _ = self.sigmas
        return levels[-1], levels[0]

    def level_conflicts(self, network: NetworkFacts, place: str) -> Iterator[ConfigConflict]:
        """sigma_min or sigma_max as written beyond what the
        network was shown, or too little left within it."""
        if self.beyond_trained_levels:
            return
        found: list[ConfigConflict] = []
        for name, value in (("sigma_max", self.sigma_max), ("sigma_min", self.sigma_min)):
            if value is not None:
                found += outside(network, place, name, value)
        yield from found
        fault = self._fault_of(self.within(network.trained_levels).walked_levels)
        if fault and not found:
            fields = (f"{place}.sigma_min", f"{place}.sigma_max", f"{place}.num_steps", f"{place}.grid")
            yield fields, f"within the noise levels that the network was shown: {fault}"

    @property
    def suffix(self) -> str:
        """What a label says of the grid and the guidance: nothing when they are EDM's and plain."""
        return ("" if self.grid == "edm" else f" {self.grid} grid") + super().suffix

    def grid_form(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Canonical form of the noise levels alone, and which fields do nothing to them.

        One or two noise levels above 0 are told by themselves:
        how more would be spread between them says nothing.
        """
        reasons = self._inert_fields()
        if self.num_steps <= 2:
            ends = dict(zip(("sigma_max", "sigma_min"), self.sigmas[:-1], strict=False))
            return {"num_steps": self.num_steps, **ends}, reasons
        low, high = self.walked_levels
        span = {"sigma_max": high, "sigma_min": low}
        fields = type(self).model_fields
        settings = {name: getattr(self, name) for name in GRID_SETTINGS[self.grid]}
        if self.grid == "edm":
            return {"num_steps": self.num_steps, **span, **settings}, reasons
        if (
            self.grid == "iddpm"
        ):  # the table's own levels, which a range between two of them leaves as they are
            within = iddpm_levels((low, high), self._table)
            default = iddpm_levels(IDDPM_LEVELS, self._table)
            span = {} if within == default else {"sigma_max": within[0], "sigma_min": within[-1]}
        elif self.grid in ("vp", "ve") and (low, high) == self.default_levels:
            span = {}
        changed = {name: value for name, value in settings.items() if value != fields[name].default}
        return {"num_steps": self.num_steps, "grid": self.grid, **span, **changed}, reasons

    def _inert_fields(self) -> tuple[str, ...]:
        """Which fields do nothing to the noise levels, in words."""
        fields = type(self).model_fields
        others = [name for grid, names in GRID_SETTINGS.items() if grid != self.grid for name in names]
        acting = ("epsilon_s",) if self.has_vp_times else ()
        inert = [
            name for name in others if name not in acting and getattr(self, name) != fields[name].default
        ]
        reasons = [f"grid {self.grid}: {', '.join(inert)} do nothing"] if inert else []
        if self.num_steps == 1 and not self.has_vp_times:
            reasons.append("one step uses neither sigma_min nor how noise levels are spread (rho)")
        elif self.num_steps == 2:
            reasons.append("two steps go from sigma_max to sigma_min to 0: rho does nothing")
        return tuple(reasons)
