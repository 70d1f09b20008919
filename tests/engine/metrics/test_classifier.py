"""The classifier: accurate, deterministic, and trained only once."""

import pytest
import torch

from engine.data.datasets import ImageSet
from engine.files import LocalFiles, unpack
from engine.metrics import classifier
from engine.metrics.classifier import Classifier, load_classifier, train_classifier

pytestmark = pytest.mark.slow


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(classifier, "MAX_STEPS", 3)


def random_images(shape: tuple[int, int, int], count: int = 40) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return ImageSet.of(images, torch.arange(count) % 10)


def test_it_reads_at_least_97_percent_of_held_out_digits(digits, trained_files):
    net, data = load_classifier(digits, trained_files)
    held_out = slice(0, None, 10)
    hits = net(digits.images[held_out]).argmax(dim=1) == digits.labels[held_out]
    assert hits.double().mean() >= 0.97
    assert unpack(data)[1]["accuracy"] == pytest.approx(float(hits.double().mean()))


def test_training_again_gives_the_same_bits(digits, trained_files):
    stored = unpack(trained_files.read("classifier.safetensors"))[0]
    weights = train_classifier(digits)[0].state_dict()
    assert weights.keys() == stored.keys()
    assert all(torch.equal(weights[name], stored[name]) for name in stored)


def test_another_seed_gives_other_weights(few_steps, digits):
    weights = [train_classifier(digits, seed)[0].readout.weight for seed in (0, 1)]
    assert not torch.equal(*weights)


def test_training_neither_uses_nor_changes_the_global_random_state(few_steps, digits):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train_classifier(digits)[0].readout.weight
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(train_classifier(digits)[0].readout.weight, first)


def test_held_out_images_do_not_influence_training(few_steps, digits):
    altered = digits.images.clone()
    altered[::10] = 0
    weights = [
        train_classifier(ImageSet.of(x, digits.labels))[0].readout.weight for x in (digits.images, altered)
    ]
    assert torch.equal(*weights)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_every_image_shape_of_the_catalogue_has_features(few_steps, shape):
    images = random_images(shape)
    net, accuracy = train_classifier(images)
    features = net.features(images.images)
    assert features.shape == (40, 64)
    assert features.isfinite().all()
    assert 0 <= accuracy <= 1


def test_the_number_of_steps_is_bounded(few_steps, digits, monkeypatch):
    steps = []
    backward = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda loss: (steps.append(loss), backward(loss)))
    train_classifier(digits)
    assert len(steps) == 3


def test_a_stored_classifier_is_loaded_and_not_trained_again(digits, trained_files, monkeypatch):
    def refuse(images: ImageSet) -> None:
        raise AssertionError("trained although stored")

    monkeypatch.setattr(classifier, "train_classifier", refuse)
    _, data = load_classifier(digits, trained_files)
    assert data == trained_files.read("classifier.safetensors")


def test_a_stored_classifier_of_other_images_is_replaced(few_steps, tmp_path):
    files = LocalFiles(tmp_path)
    load_classifier(random_images((1, 8, 8), count=30), files)
    images = random_images((1, 8, 8), count=40)
    _, data = load_classifier(images, files)
    assert unpack(data)[1]["data_sha256"] == images.sha256
    assert files.read("classifier.safetensors") == data


def test_the_first_of_two_trainings_at_once_wins(few_steps, tmp_path, monkeypatch):
    files, images = LocalFiles(tmp_path), random_images((1, 8, 8))
    other = {}

    def train_beside_another(images: ImageSet) -> tuple[Classifier, float]:
        result = train_classifier(images, seed=1)
        monkeypatch.setattr(classifier, "train_classifier", train_classifier)
        other["data"] = load_classifier(images, files)[1]
        return result

    monkeypatch.setattr(classifier, "train_classifier", train_beside_another)
    assert load_classifier(images, files)[1] == other["data"] == files.read("classifier.safetensors")
