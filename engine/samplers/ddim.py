"""DDIM: few-step sampling on a variance-preserving schedule, deterministic at eta = 0.

The loop, in the symbols of P2 (Eq. 12, 16), whose alpha is alpha_bar here, over timesteps
tau_1 < ... < tau_S with alpha_{tau_0} = 1:

    x_{tau_S} ~ N(0, I)
    for i in S .. 1, a = alpha_{tau_i}, b = alpha_{tau_{i-1}}:
        eps_hat = eps_theta(x_{tau_i})
        x0_hat  = (x_{tau_i} - sqrt(1 - a) eps_hat) / sqrt(a)
        s       = eta sqrt((1 - b) / (1 - a)) sqrt(1 - a / b)
        x_{tau_{i-1}} = sqrt(b) x0_hat + sqrt(1 - b - s^2) eps_hat + s eps_i,   eps_i ~ N(0, I)

`noisy` adds sqrt(1 - a / b) eps_i instead of s eps_i, and keeps s in the mean [P2 Table 1, sigma-hat].
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from engine.process.covariance import CovarianceName
from engine.samplers.base import Canonical
from engine.samplers.chain import ChainSampler
from engine.samplers.chain_step import ClipName
from engine.samplers.ddpm import Ddpm
from engine.samplers.steps import Step

ETA = (0.0, 0.2, 0.5, 1.0)
"""P2's stochasticities [P2 Table 1; playbook 5.1]."""


class Ddim(ChainSampler):
    """The generalised reverse process on a subsequence tau of
    the timesteps [P2 Eq. 12, 16; playbook 0.3, 5.1, A.7]."""

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {"eta": ETA}

    kind: Literal["ddim"] = "ddim"
    eta: float = Field(default=0.0, ge=0, le=1)
    """Stochasticity: 0 is deterministic, 1 is DDPM's posterior variance."""
    noisy: bool = False
    """DDPM with the larger variance beta: eta 1's mean with P2's sigma_hat [P2 Table 1]. Its code's
    ddpm_noisy is this with clip x0_and_eps."""
    covariance: Literal["none", "analytic", "ocm", "npr", "sn", "direct"] = "none"
    """What is known of Cov[x0 | x] becomes noise too, so that eta = 0 is not deterministic [Bao et al. 2022;
    P6]."""
    clip: ClipName = "none"
    """none as P2's code, x0 as P6's and Analytic-DPM's, x0_and_eps as P1's and ddpm_noisy:
    three samplers, one name."""

    @model_validator(mode="after")
    def _noisy_is_ddpm(self) -> "Ddim":
        if self.noisy and (self.eta != 1 or self.covariance != "none"):
            raise ValueError(
                "noisy is DDPM with the larger variance beta: it needs eta 1 and covariance none, not "
                f"eta {self.eta:g} and covariance {self.covariance}"
            )
        return self

    @property
    def deterministic(self) -> bool:
        """Whether no step adds noise: at eta 0, and where the only step lands on x0_hat."""
        return len(self.timesteps) == 1 or (self.eta == 0 and self.reverse_variance == "beta_tilde")

    @property
    def order(self) -> int | None:
        """1 at eta 0: it is Euler's method on the chain's own noise levels."""
        noiseless = self.eta == 0 and self.reverse_variance == "beta_tilde"
        return 1 if noiseless and self.clip == "none" else None

    @property
    def family(self) -> str:
        """The solver's name in figures: what makes it stochastic is told apart."""
        if self.deterministic:
            return "DDIM"
        return "DDIM stochastic" if self.covariance == "none" else f"DDIM {self.covariance}"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        eta = f" eta {self.eta:g}" if self.eta else ""
        variance = " noisy" if self.noisy else "" if self.covariance == "none" else f" {self.covariance}"
        clip = "" if self.clip == "none" else f" clip {self.clip}"
        return f"DDIM {self.num_steps}{eta}{variance}{clip}{self.suffix}"

    def canonical(self) -> Canonical:
        """Schedule, the timesteps really visited, eta, and what else changes the images."""
        return self.chain_form(self.eta, self.clip, self.reverse_variance)

    def as_ddpm(self) -> Ddpm | None:
        """At eta = 1 it is DDPM under another name, whose `clip_x0` is clip x0_and_eps here."""
        if self.deterministic or self.eta != 1 or self.clip == "x0" or self.covariance == "direct":
            return None
        common = {field: getattr(self, field) for field in ChainSampler.model_fields}
        return Ddpm(**common, covariance=self.reverse_variance, clip_x0=self.clip == "x0_and_eps")

    def program(self) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last one lands on x0_hat."""
        return self.walk(eta=self.eta, clip=self.clip, covariance=self.reverse_variance)

    @property
    def reverse_variance(self) -> CovarianceName:
        """The variance of a reverse step at eta = 1; beta_tilde, which eta scales, is P2's own."""
        if self.noisy:
            return "beta"
        return "beta_tilde" if self.covariance == "none" else self.covariance
