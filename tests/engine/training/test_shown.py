"""What the network is told beside the noisy image: labels, some of them hidden, and augmentations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.build import build_denoiser
from engine.config.experiment import Experiment
from engine.data.catalog import NUM_AUGMENT_LABELS
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser, Output
from engine.files import LocalFiles
from engine.guidance import NULL_LABEL
from engine.samplers.heun import Heun
from engine.sampling.generate import generate_images
from engine.training.batches import make_batch
from engine.training.start import starting_state

CPU = torch.device("cpu")
Told = tuple[Tensor | None, Tensor | None]


def labelled(short: Any, label_dropout: float = 0.0, augment: float = 0.0, **settings: Any) -> Experiment:
    plain: Experiment = short.speck(**settings)
    model = plain.model.model_copy(update={"class_conditional": True, "label_dropout": label_dropout})
    return plain.model_copy(
        update={"model": model, "data": plain.data.model_copy(update={"augment": augment})}
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """Labels and augmentations of every evaluation of a network."""
    heard: list[Told] = []
    real = Denoiser.output

    def listening(
        self: Denoiser, x: Tensor, sigma: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Output:
        heard.append((label, augment))
        return real(self, x, sigma, label, augment)

    monkeypatch.setattr(Denoiser, "output", listening)
    return heard


def labels_at(positions: Tensor, experiment: Experiment, digits: ImageSet) -> Tensor:
    """The labels that training shows there."""
    label = make_batch(digits, experiment, positions, CPU).label
    assert label is not None
    return label


# Labels.


def test_label_dropout_hides_its_share_of_the_labels_and_no_others(short: Any, digits: ImageSet) -> None:
    positions = torch.arange(4000)
    shown, hidden = (labels_at(positions, labelled(short, share), digits) for share in (0.0, 0.3))
    gone = hidden == NULL_LABEL
    # 4000 draws of probability 0.3 spread by sqrt(0.3 * 0.7 / 4000) = 0.7 %; three times that.
    assert float(gone.double().mean()) == pytest.approx(0.3, abs=0.022)
    assert torch.equal(hidden[~gone], shown[~gone])
    assert shown.min() == 0


def test_a_label_is_hidden_by_its_position_however_the_batch_is_split(short: Any, digits: ImageSet) -> None:
    experiment, positions = labelled(short, 0.3, augment=0.5), torch.arange(100, 140)
    whole = make_batch(digits, experiment, positions, CPU)
    parts = [make_batch(digits, experiment, part, CPU) for part in positions.split(7)]
    for name in ("label", "augment", "x0", "eps", "uniform"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name


def test_labels_are_hidden_anew_in_every_epoch_and_by_seed(short: Any, digits: ImageSet) -> None:
    first, second = torch.arange(1797), torch.arange(1797, 2 * 1797)
    masks = [
        labels_at(positions, labelled(short, 0.5, seed=seed), digits).eq(NULL_LABEL)
        for seed, positions in ((0, first), (0, second), (1, first))
    ]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_training_tells_the_network_the_labels_that_are_not_hidden(
    short: Any, digits: ImageSet, told: list[Told]
) -> None:
    experiment = labelled(short, 0.5)
    short.run(experiment)
    expected = labels_at(torch.arange(32), experiment, digits)
    heard = [label for label, _ in told if label is not None]
    assert torch.equal(torch.cat(heard), expected)
    assert 0 < int((expected == NULL_LABEL).sum()) < 32


def test_an_unconditional_network_is_told_nothing(short: Any, told: list[Told]) -> None:
    short.run(short.speck())
    assert told == [(None, None)] * 8


# Augmentations.


def test_training_tells_the_network_the_augmentations(short: Any, told: list[Told]) -> None:
    short.run(labelled(short, augment=0.5))
    heard = torch.cat([augment for _, augment in told if augment is not None])
    assert heard.shape == (32, NUM_AUGMENT_LABELS)
    assert heard.any(1).float().mean() > 0.5  # some of the eight changes act on almost every image


def test_what_the_network_is_told_changes_what_it_learns(short: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same augmented images without their labels give other weights:
    the labels are not just passed around."""
    experiment = labelled(short, augment=0.5)
    short.run(experiment, "told")
    real: Callable[..., Output] = Denoiser.output

    def deaf(
        self: Denoiser, x: Tensor, sigma: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Output:
        return real(self, x, sigma, label, None if augment is None else torch.zeros_like(augment))

    monkeypatch.setattr(Denoiser, "output", deaf)
    short.run(experiment, "deaf")
    told, silent = short.checkpoint("told")[0], short.checkpoint("deaf")[0]
    differ = {name for name in told if name.startswith("net/") and not torch.equal(told[name], silent[name])}
    assert len(differ) > 1


def test_sampling_sees_labels_and_no_augmentation(short: Any, told: list[Told]) -> None:
    experiment = labelled(short, 0.3, augment=0.5)
    net = starting_state(experiment, LocalFiles(short.root), None, CPU).net
    images = generate_images(
        build_denoiser(experiment, net), experiment, Heun(num_steps=2), count=16, seed=0, batch_size=16
    )
    assert images.shape == (16, 1, 8, 8)
    assert len(told) == 3
    for label, augment in told:
        assert augment is None
        assert label is not None
        assert label.tolist() == [index % 10 for index in range(16)]
