"""Inception score, KID and sFID: what they may be called, what they need, and what they measure of a cell."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.data.datasets import ImageSet
from engine.files import LocalFiles
from engine.metrics.features import NetworkExtractor
from engine.metrics.frechet import FeatureStats, frechet_distance
from engine.metrics.kinds.inception_score import INCEPTION_SCORE
from engine.metrics.kinds.kernel_distance import KERNEL_DISTANCE
from engine.metrics.kinds.spatial_distance import SPATIAL_DISTANCE
from engine.metrics.reference import load_reference
from engine.metrics.registry import measured_metrics, metric_facts
from engine.metrics.scores import inception_score, kernel_distance, subset_indices
from engine.objectives.simple import SimpleObjective
from engine.samplers.heun import Heun


def experiment(**protocol: Any) -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(),
        objective=SimpleObjective(),
        train=Train(batch_size=100, total_kimg=1, snapshot_kimg=1),
        sample=Heun(num_steps=3),
        eval=EvaluationProtocol(**protocol),
    )


ALL = ("is", "kid", "sfid")
ASKED_ELSEWHERE = {"precision", "recall", "density", "coverage", "seconds_per_image"}


def names(**protocol: Any) -> list[str]:
    return [name for name in measured_metrics(experiment(**protocol)) if name not in ASKED_ELSEWHERE]


# Names tell the truth.


def test_with_inception_and_fifty_thousand_images_they_have_the_papers_names() -> None:
    assert names(extractor="inception", num_samples=50_000, metrics=ALL) == [
        *("fid", "inception_score", "inception_score_std", "kid", "kid_std", "sfid"),
    ]


def test_with_fewer_images_the_count_is_in_the_name_of_what_depends_on_it() -> None:
    assert names(extractor="inception", num_samples=2_000, metrics=ALL) == [
        *("fd_inception", "inception_score_2000", "inception_score_2000_std"),
        *("kid", "kid_std", "sfid_2000"),
    ]


def test_of_other_features_a_kernel_distance_is_no_kid() -> None:
    assert names(extractor="classifier", num_samples=1_000, metrics=("kid",)) == [
        *("fd_classifier", "kd_classifier", "kd_classifier_std"),
    ]


def test_nothing_is_measured_that_is_not_asked_for() -> None:
    assert names(extractor="inception", num_samples=50_000) == ["fid"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("inception_score", "Inception score ↑"),
        ("inception_score_2000", "Inception score, 2,000 images ↑"),
        ("inception_score_std", "Inception score, std of splits"),
        ("is_other_inception", "is_other_inception ↑"),
        ("kid", "KID ↓"),
        ("kid_std", "KID, std of subsets"),
        ("kd_classifier", "kd_classifier ↓"),
        ("sfid", "sFID ↓"),
        ("sfid_10000", "sFID, 10,000 images ↓"),
        ("sfd_other_inception", "sfd_other_inception ↓"),
    ],
)
def test_every_name_has_its_label_and_arrow(name: str, header: str) -> None:
    facts = metric_facts([name])[name]
    assert facts.header == header
    assert facts.group == "score"


# What they need is said before anything is spent.


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"metrics": ("is",)}, "is scores the classes that inception tells apart; classifier has none"),
        ({"metrics": ("is",), "extractor": "inception", "num_samples": 9}, "10 splits .*num_samples is 9"),
        ({"metrics": ("kid",), "num_samples": 999}, "subsets of 1,000 images; eval.num_samples is 999"),
        ({"metrics": ("sfid",), "extractor": "pixels"}, "sfid reads spatial features, which inception has"),
    ],
)
def test_a_protocol_that_lacks_something_is_refused(protocol: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        experiment(**protocol)


def test_a_kernel_distance_needs_a_thousand_real_images() -> None:
    protocol = EvaluationProtocol(metrics=("kid",), num_samples=1_000)
    [(fields, reason)] = KERNEL_DISTANCE.needs(protocol, 999)
    assert fields == ("eval.metrics", "data.name")
    assert reason.endswith("the data set has 999")


def test_who_asks_for_a_number_by_its_name_is_told_what_it_is_asked_for_as() -> None:
    with pytest.raises(ValidationError, match='did you mean "is"'):
        EvaluationProtocol(metrics=("inception_score",))


# What they measure.


def cell(tmp_path: Path, num_real: int) -> Any:
    """A cell whose extractor sees two pixels, a class in each of four, and places in all nine."""
    drawn = torch.Generator().manual_seed(0)

    def images(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, 1, 3, 3), dtype=torch.uint8, generator=drawn)

    def pixels(first: int) -> Any:
        return lambda batch: batch.flatten(1)[:, :first].float() / 255

    device = torch.device("cpu")
    spatial = NetworkExtractor("seen_spatial", 9, "0" * 64, pixels(9), device)
    extractor = NetworkExtractor(
        "inception",
        2,
        "0" * 64,
        pixels(2),
        device,
        logits=lambda rows: rows.repeat(1, 2) * 5,
        spatial=spatial,
    )
    real = ImageSet.of(images(num_real), torch.zeros(num_real))
    generated = images(1200)
    return SimpleNamespace(
        images=generated,
        features=extractor(generated),
        extractor=extractor,
        reference=load_reference(extractor, real, files=LocalFiles(tmp_path)),
        real_images=lambda split: real,
    )


def test_the_score_is_that_of_the_logits_and_named_with_the_count(tmp_path: Path) -> None:
    one = cell(tmp_path, 20)
    found = INCEPTION_SCORE.measure(one)
    expected = inception_score(one.extractor.logits(one.features))
    assert found == {"inception_score_1200": expected.mean, "inception_score_1200_std": expected.std}


@pytest.mark.parametrize("num_real", [1_050, 20_500])
def test_the_kernel_distance_is_of_the_whole_training_set_however_much_of_it_is_kept(
    num_real: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than 20,000 images the reference keeps 10,000;
    subsets are taken of all of them nevertheless."""
    one = cell(tmp_path, num_real)
    real = one.extractor(one.real_images("train").images)
    few = subset_indices(1200, num_real, subsets=3)
    monkeypatch.setattr("engine.metrics.scores.subset_indices", lambda *counts: few)
    expected = kernel_distance(one.features, real, few)
    assert KERNEL_DISTANCE.measure(one) == pytest.approx(
        {"kid": expected.mean, "kid_std": expected.std}, rel=1e-12
    )


def test_the_spatial_distance_is_of_all_images_and_its_reference_is_kept(tmp_path: Path) -> None:
    one = cell(tmp_path, 300)
    real, generated = (
        FeatureStats.of(one.extractor.spatial(images)).gaussian
        for images in (one.real_images("train").images, one.images)
    )
    found = SPATIAL_DISTANCE.measure(one)
    assert found == {"sfid_1200": pytest.approx(frechet_distance(real, generated), rel=1e-12)}

    again = cell(tmp_path, 300)
    again.real_images = None  # not asked for: what was worked out is read
    assert SPATIAL_DISTANCE.measure(again) == found


def test_what_is_kept_of_another_reference_is_made_anew(tmp_path: Path) -> None:
    SPATIAL_DISTANCE.measure(cell(tmp_path, 300))
    other = cell(tmp_path, 290)
    fresh = cell(tmp_path / "fresh", 290)
    assert SPATIAL_DISTANCE.measure(other) == SPATIAL_DISTANCE.measure(fresh)
