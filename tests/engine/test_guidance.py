"""Classifier-free guidance: the convention, its cost, and its place in a sampler's identity."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.base import NetworkFacts, SamplerBase
from engine.samplers.heun import Heun
from engine.samplers.registry import SAMPLERS
from engine.sampling.generate import generate, generate_shared
from engine.sampling.prefix_sharing import guided_trees

LABELS = torch.tensor([0, 1, 2, 2])
X = normal(0, Purpose.LATENT, torch.arange(4), (1, 2, 2))


class Labelled(torch.nn.Module):
    """x0_hat = 0.1 x + label; the second half of its channels says -label."""

    def __init__(self, learned_variance: bool = False) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.learned_variance = learned_variance

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor, augment: Tensor | None = None) -> Tensor:
        shift = label[:, None, None, None].float() + self.bias
        target = 0.1 * x + shift
        return torch.cat([target, -shift.expand_as(x)], dim=1) if self.learned_variance else target


def denoiser(learned_variance: bool = False) -> Denoiser:
    return Denoiser(Labelled(learned_variance), Preconditioning(EdmProcess(), "x0"))


@pytest.mark.parametrize(("guidance", "label"), [(1.0, LABELS), (0.0, torch.full_like(LABELS, -1))])
def test_guidance_1_is_the_conditional_and_0_the_unconditional_prediction(
    guidance: float, label: Tensor
) -> None:
    model = denoiser()
    expected = model(X, 2.0, label)
    model.nfe = 0
    assert torch.equal(Guided(model, LABELS, guidance)(X, 2.0), expected)
    assert model.nfe == 1


@pytest.mark.parametrize("guidance", [0.5, 2.5])
def test_guidance_moves_from_the_unconditional_along_the_difference(guidance: float) -> None:
    model = denoiser()
    # Conditional and unconditional differ by label - (-1). Float32 numbers below 12: 1e-6.
    expected = 0.1 * X - 1 + guidance * (LABELS[:, None, None, None] + 1)
    assert torch.allclose(Guided(model, LABELS, guidance)(X, 2.0), expected, rtol=0, atol=1e-5)
    assert model.nfe == 2


@pytest.mark.parametrize(("guidance", "evaluations"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_posterior_has_the_guided_mean_and_the_conditional_variance(
    guidance: float, evaluations: int
) -> None:
    model = denoiser(learned_variance=True)
    guided = Guided(model, LABELS, guidance)
    posterior = guided.posterior(X, 2.0)
    assert model.nfe == evaluations
    assert torch.equal(posterior.x0_hat, guided(X, 2.0))
    asked = LABELS if guidance else torch.full_like(LABELS, -1)
    plain = model.posterior(X, 2.0, asked)
    assert plain.range_fraction is not None
    assert posterior.range_fraction is not None
    assert torch.equal(posterior.range_fraction, plain.range_fraction)
    assert replace(posterior, x0_hat=plain.x0_hat, range_fraction=plain.range_fraction) == plain


def test_guidance_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="give labels"):
        Guided(denoiser(), None, 2.0)


def sampler(name: str, guidance: float) -> SamplerBase:
    return SAMPLERS[name](num_steps=4, guidance=guidance)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_has_guidance_in_its_identity_unless_it_is_plain(name: str) -> None:
    plain, unconditional, guided = (sampler(name, w).canonical().form for w in (1.0, 0.0, 2.0))
    assert "guidance" not in plain
    assert unconditional == {**plain, "guidance": 0.0}
    assert guided == {**plain, "guidance": 2.0}


@pytest.mark.parametrize("name", SAMPLERS)
def test_labels_tell_guided_samplers_apart(name: str) -> None:
    assert sampler(name, 2.5).label == f"{sampler(name, 1.0).label} w 2.5"


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("guidance", "cost"), [(0.0, 1), (1.0, 1), (3.0, 2)])
def test_generated_images_cost_the_evaluations_the_sampler_declares(
    name: str, guidance: float, cost: int
) -> None:
    model, asked = denoiser(), sampler(name, guidance)
    images = generate(
        model, asked, indices=torch.arange(5), shape=(1, 2, 2), seed=0, batch_size=3, num_classes=3
    )
    assert images.shape == (5, 1, 2, 2)
    assert model.nfe == 2 * asked.nfe
    assert asked.nfe == cost * asked.evaluations


def test_a_guided_image_depends_on_its_index_alone() -> None:
    def draw(batch_size: int) -> Tensor:
        return generate(
            denoiser(), sampler("heun", 0.3), indices=torch.arange(6), shape=(1, 2, 2), seed=0,
            batch_size=batch_size, num_classes=3,
        )  # fmt: skip

    # The stand-in network works element by element, so batches of any size give the same bits.
    assert torch.equal(draw(6), draw(4))
    assert len(draw(6).unique()) > 4


class TwoPredictions(torch.nn.Module):
    """x0_hat is 3 in every channel where the label is hidden, and 10 + the channel's number where it is not.

    In units of `scale`.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor, augment: Tensor | None = None) -> Tensor:
        with_label = 10 + torch.arange(x.shape[1], dtype=x.dtype).reshape(1, -1, 1, 1)
        hidden = (label < 0).reshape(-1, 1, 1, 1)
        return torch.where(hidden, torch.tensor(3.0), with_label).expand_as(x) * self.scale + self.bias


def test_guiding_the_first_channels_leaves_the_others_conditional() -> None:
    model = Denoiser(TwoPredictions(), Preconditioning(EdmProcess(), "x0"))
    latents = torch.zeros(2, 4, 2, 2)
    for channels, expected in ((3, [31.0, 35.0, 39.0, 13.0]), (None, [31.0, 35.0, 39.0, 43.0])):
        # 3 + 4 (10 + c - 3) = 31 + 4 c where it is guided, 10 + c where it is not.
        guided = Guided(model, torch.tensor([0, 1]), 4.0, channels)
        for found in (guided(latents, 1.0), guided.posterior(latents, 1.0).x0_hat):
            assert found[1, :, 0, 0].tolist() == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_guided_channels_are_in_the_identity_where_predictions_are_mixed(name: str) -> None:
    def with_channels(guidance: float, channels: int | None) -> SamplerBase:
        return SAMPLERS[name](num_steps=4, guidance=guidance, guidance_channels=channels)

    all_channels, first = with_channels(2.0, None), with_channels(2.0, 3)
    assert first.canonical().form == {**all_channels.canonical().form, "guidance_channels": 3}
    assert first.label == f"{all_channels.label} on 3 channels"
    for nothing_mixed in (0.0, 1.0):
        inert = with_channels(nothing_mixed, 3)
        assert inert.canonical().form == with_channels(nothing_mixed, None).canonical().form
        reasons = inert.canonical().reasons
        assert any(reason.endswith("guidance_channels does nothing") for reason in reasons)
    assert first.nfe == all_channels.nfe


def test_samplers_that_guide_other_channels_share_no_run() -> None:
    asked = [sampler("heun", 2.0).model_copy(update={"guidance_channels": c}) for c in (None, 1, 1)]
    assert [len(tree.ends) + len(tree.children) for tree in guided_trees(asked).values()] == [1, 1]
    model = Denoiser(TwoPredictions(scale=0.02), Preconditioning(EdmProcess(), "x0"))
    settings = {"indices": torch.arange(3), "shape": (2, 2, 2), "seed": 0, "batch_size": 3, "num_classes": 3}
    together: dict[int, Tensor] = {}
    generate_shared(
        model, asked, emit=lambda number, _, images: together.update({number: images}), **settings
    )
    for number, one in enumerate(asked):
        assert torch.equal(together[number], generate(model, one, **settings))
    assert not torch.equal(together[0], together[1])


def test_guiding_as_many_channels_as_there_are_is_refused() -> None:
    network = NetworkFacts("edm", "edm", True, False, False, False, channels=3)
    for channels, refused in ((2, False), (3, True), (None, False)):
        asked = Heun(num_steps=4, guidance=2.0, guidance_channels=channels)
        assert bool(list(asked.guidance_conflicts(network, "sample"))) == refused
