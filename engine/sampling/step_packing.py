"""One network batch for the questions of several steps:
their images side by side, each with its own noise level."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.batch_shape import repeated
from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.posterior import Posterior
from engine.samplers.steps import DenoiseRequest


class PackedSteps:
    """Answers steps that run together, the network always seeing `batch_size` images.

    The steps' states are of the same n images, of which row i of the batch holds number i modulo n: so
    `guided` has the label of that image there. Where the steps do not fill the batch, they are repeated.
    `evaluations` counts images times network evaluations, without those repeated.
    """

    def __init__(self, guided: Guided, batch_size: int) -> None:
        self.guided = guided
        self.batch_size = batch_size
        self.evaluations = 0

    def __call__(self, asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        """An answer to each question, from one evaluation of the network for all, or two where it is
        guided. Those that take a gradient are answered after the others, together."""
        probing = [request.signs is not None for request in asked]
        if any(probing) and not all(probing):
            plain, probed = (
                iter(self([one for one, probes in zip(asked, probing, strict=True) if probes == chosen]))
                for chosen in (False, True)
            )
            return [next(probed if probes else plain) for probes in probing]
        images = len(asked[0].x)
        x = torch.cat([request.x for request in asked])
        levels = [request.sigma for request in asked for _ in range(images)]
        sigma = torch.tensor(levels, dtype=torch.float64, device=x.device)
        before = self.guided.denoiser.nfe
        together = self._together(repeated(x, self.batch_size), repeated(sigma, self.batch_size), asked)
        self.evaluations += (self.guided.denoiser.nfe - before) * len(x)
        return [together.of(slice(first, first + images)) for first in range(0, len(x), images)]

    def _together(self, x: Tensor, sigma: Tensor, asked: Sequence[DenoiseRequest]) -> Posterior:
        signs = [request.signs for request in asked if request.signs is not None]
        if signs:
            return self.guided.probe(x, sigma, repeated(torch.cat(signs), self.batch_size))
        if any(request.with_variance for request in asked):
            return self.guided.posterior(x, sigma)
        return Posterior(self.guided(x, sigma))


def steps_per_batch(denoiser: Denoiser, images: int, batch_size: int) -> int:
    """Steps of so many images that fit into one batch.

    One, for a network whose work depends on what the images of a batch agree on:
    they do so at one noise level.
    """
    return batch_size // images if denoiser.packs_steps else 1
