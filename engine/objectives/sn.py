"""SN-DPM's objective, which trains a head. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.objectives.head import HeadObjective

if TYPE_CHECKING:
    from engine.denoiser import Denoiser, VarianceModel
    from engine.objectives.losses.batch import Noised, Terms


class SnObjective(HeadObjective):
    """SN: the head learns h = E[eps^2 | x], the squared noise, and Cov[x0 | x] = sigma^2 (h - eps_hat^2)
    [Bao et al. 2022b, Extended-Analytic-DPM].

    For the exact eps_hat that is NPR's covariance;
    for one that is off, the square of the error is missing in it.
    """

    position: ClassVar[int] = 9

    kind: Literal["sn"] = "sn"

    def variance_model(self) -> "VarianceModel":
        """sigma^2 (h - eps_hat^2)."""
        from engine.objectives.losses.noise_moments import SnVariance

        return SnVariance()

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|eps^2 - h|^2."""
        from engine.objectives.losses.noise_moments import square_losses

        return square_losses(denoiser, batch)
