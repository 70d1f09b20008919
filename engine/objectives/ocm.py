"""OCM's objective, which trains a head. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.objectives.head import HeadObjective

if TYPE_CHECKING:
    from engine.denoiser import Denoiser, VarianceModel
    from engine.objectives.losses.batch import Noised, Terms


class OcmObjective(HeadObjective):
    """OCM: the head learns h = sigma^2 diag(d score / dx), and Cov[x0 | x] = sigma^2 (1 + h) [P6; playbook 3.6]."""

    position: ClassVar[int] = 7

    kind: Literal["ocm"] = "ocm"

    def variance_model(self) -> "VarianceModel":
        """sigma^2 (1 + h)."""
        from engine.objectives.losses.covariance import OcmVariance

        return OcmVariance()

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|estimate - h|^2 of the diagonal h [P6; playbook 3.7]."""
        from engine.objectives.losses.covariance import covariance_losses

        return covariance_losses(denoiser, batch)
