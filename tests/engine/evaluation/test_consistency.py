"""The same latents, several numbers of steps:
the score's scale, and what it says of good and bad samplers."""

import io
import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.evaluation.consistency import Agreement, agreement, consistency
from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.objectives.edm import EdmObjective
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.ddim import Ddim
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun

COUNT = 40
ORACLE = GaussianOracle(0.25)
EXPERIMENT = Experiment(
    data=Data(name="digits"),
    model=DdpmPlusPlus(),
    objective=EdmObjective(),
    train=Train(batch_size=16, total_kimg=0.192, snapshot_kimg=0.064),
    sample=Heun(num_steps=18),
    eval=EvaluationProtocol(),
)


class GaussianNet(torch.nn.Module):
    """The exact x0_hat of pixels N(0, 0.25^2), for a preconditioning that predicts x0."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Tensor:
        return ORACLE.denoise(x, float((4 * c_noise[0]).exp())) + self.bias


def denoiser() -> Denoiser:
    return Denoiser(GaussianNet(), Preconditioning(EdmProcess(), "x0"))


def images(seed: int, count: int = 200) -> Tensor:
    return normal(seed, Purpose.LATENT, torch.arange(count), (1, 4, 4))


def test_the_same_images_agree_fully_and_other_images_not_at_all() -> None:
    x = images(0)
    assert agreement(x, x) == 1
    # The mean of 200 squared distances, each 2 chi-square with 16 degrees:
    # relative spread sqrt(2 / 16 / 200) = 0.025.
    assert abs(agreement(x, images(1))) < 5 * 0.025


def test_agreement_is_its_formula_on_three_numbers() -> None:
    # Matched: (1 + 0 + 1) / 3. Unrelated: (1 - 0)^2 + (4 - 0)^2 + (0 - 1 - 1)^2 ... all six pairs i != j.
    x, y = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[1.0], [1.0], [3.0]])
    unrelated = (1 + 9 + 0 + 4 + 9 + 9) / 6
    assert agreement(x, y) == pytest.approx(1 - (2 / 3) / unrelated, rel=1e-12)


def test_agreement_of_noisy_copies_follows_the_noise_and_not_the_scale() -> None:
    x, noise = images(0, 1000), images(1, 1000)
    # E|x_i - y_i|^2 = s^2 and E|x_i - y_j|^2 = 2 + s^2 a pixel; 16,000 pixels: spread of either mean 1.1 %.
    for s in (0.1, 0.5, 1.0):
        expected = s**2 / (2 + s**2)
        assert 1 - agreement(x, x + s * noise) == pytest.approx(expected, rel=5 * 0.016)
        assert agreement(10 * x + 3, 10 * (x + s * noise) + 3) == pytest.approx(
            agreement(x, x + s * noise), rel=1e-9
        )


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="as many images"):
        agreement(images(0, 3), images(0, 4))
    with pytest.raises(ValueError, match="three or more"):
        agreement(images(0, 2), images(0, 2))


def test_images_that_are_all_the_same_agree() -> None:
    assert agreement(torch.ones(3, 2), torch.ones(3, 2)) == 1
    assert agreement(torch.ones(3, 2), torch.zeros(3, 2)) == 0


def test_scores_of_heun_on_gaussian_data_are_the_closed_form() -> None:
    samplers = [Heun(num_steps=n) for n in (40, 8, 12)]
    scores, _ = consistency(denoiser(), EXPERIMENT, samplers, count=COUNT, seed=0, batch_size=16)
    assert [(one.label, one.nfe) for one in scores] == [("Heun 8", 15), ("Heun 12", 23), ("Heun 40", 79)]
    assert scores[-1].score == 1
    # Each sampler multiplies its latent by a constant f: 1 - score = (f - g)^2 / (f^2 + g^2) on average.
    one = torch.ones((), dtype=torch.float64)
    f8, f12, g = (float(Heun(num_steps=n).sample(ORACLE.denoise, one, lambda step: one)) for n in (8, 12, 40))
    for f, found in zip((f8, f12), scores, strict=False):
        # 2,560 pixels: 5 standard errors of the ratio of two mean squares are 5 sqrt(2 * 2 / 2560) = 0.2 of
        # it. Grey levels 2 / 255 apart add (2 / 255)^2 / 6 / (f^2 + g^2) at most.
        expected, rounding = (f - g) ** 2 / (f**2 + g**2), (2 / 255) ** 2 / 6 / (f**2 + g**2)
        assert 1 - found.score == pytest.approx(expected, rel=0.2, abs=rounding)


def test_a_sampler_that_forgets_its_latents_is_found_out() -> None:
    # At eta = 1 most of what the latents said is replaced by noise drawn on the way.
    deterministic, stochastic = (
        consistency(
            denoiser(), EXPERIMENT, [Ddim(num_steps=30, eta=eta), Ddim(num_steps=60, eta=eta)],
            count=COUNT, seed=0, batch_size=COUNT,
        )[0][0].score
        for eta in (0.0, 1.0)
    )  # fmt: skip
    assert deterministic > 0.99
    assert stochastic < 0.5


def test_scores_can_compare_features() -> None:
    class Mean:
        name, dims, sha256 = "mean", 1, ""

        def __call__(self, images: Tensor) -> Tensor:
            return images.float().mean(dim=(1, 2, 3))[:, None]

    samplers = [Euler(num_steps=4), Euler(num_steps=8)]
    pixels, features = (
        consistency(
            denoiser(), EXPERIMENT, samplers, count=COUNT, seed=0, batch_size=COUNT, extractor=extractor
        )[0]
        for extractor in (None, Mean())
    )
    assert features[0].score != pixels[0].score
    assert features[1] == pixels[1] == Agreement("Euler 8", 8, 1.0)


def test_the_panel_has_a_row_for_each_sampler_and_a_column_for_each_latent() -> None:
    samplers = [Euler(num_steps=2), Euler(num_steps=4), Euler(num_steps=6)]
    _, png = consistency(denoiser(), EXPERIMENT, samplers, count=COUNT, seed=0, batch_size=COUNT)
    side = 8 * math.floor(32 / 8)
    assert Image.open(io.BytesIO(png)).size == (10 * (side + 1) - 1, 3 * (side + 1) - 1)
