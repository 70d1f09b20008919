"""NPR-DPM's objective, which trains a head. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.objectives.head import HeadObjective

if TYPE_CHECKING:
    from engine.denoiser import Denoiser, VarianceModel
    from engine.objectives.losses.batch import Noised, Terms


class NprObjective(HeadObjective):
    """NPR: the head learns h = E[(eps - eps_hat)^2 | x], the noise prediction's residual, and Cov[x0 | x] = sigma^2 h
    [Bao et al. 2022b, Extended-Analytic-DPM]."""

    position: ClassVar[int] = 8

    kind: Literal["npr"] = "npr"

    def variance_model(self) -> "VarianceModel":
        """sigma^2 h."""
        from engine.objectives.losses.noise_moments import NprVariance

        return NprVariance()

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|(eps - eps_hat)^2 - h|^2."""
        from engine.objectives.losses.noise_moments import residual_losses

        return residual_losses(denoiser, batch)
