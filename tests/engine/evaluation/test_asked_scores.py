"""A cell whose protocol asks for scores by name is measured with them: names planned are names measured."""

from functools import partial
from pathlib import Path

import pytest
import torch

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.data.datasets import ImageSet, load_images
from engine.evaluation.measured_cell import MeasuredCell, Measurements, ReferenceContext, ask
from engine.evaluation.snapshot_cache import Snapshot
from engine.files import LocalFiles
from engine.metrics.features import NetworkExtractor, build_extractor
from engine.metrics.kinds.inception_score import INCEPTION_SCORE
from engine.metrics.kinds.kernel_distance import KERNEL_DISTANCE
from engine.metrics.kinds.spatial_distance import SPATIAL_DISTANCE
from engine.metrics.reference import load_reference
from engine.metrics.registry import measured_metrics
from engine.metrics.scores import subset_indices
from engine.objectives.edm import EdmObjective
from engine.samplers.heun import Heun
from engine.sampling.generation import GeneratedImages

SCORES = (INCEPTION_SCORE, KERNEL_DISTANCE, SPATIAL_DISTANCE)


@pytest.fixture(autouse=True)
def few_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pairs of subsets instead of a hundred, for time."""
    monkeypatch.setattr("engine.metrics.scores.subset_indices", partial(subset_indices, subsets=10))


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits", None)


def measured(
    root: Path, digits: ImageSet, extractor: NetworkExtractor, protocol: EvaluationProtocol
) -> Measurements:
    """The scores of the first 1,000 digits, as if they had been generated."""
    experiment = Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(channels=8, channel_mult=(1,), num_blocks=1, attention_resolutions=()),
        objective=EdmObjective(),
        train=Train(batch_size=16, total_kimg=0.064, snapshot_kimg=0.064),
        sample=Heun(num_steps=2),
        eval=protocol,
    )
    denoiser = build_denoiser(experiment, build_network(experiment)).eval()
    context = ReferenceContext(
        extractor, load_reference(extractor, digits, files=LocalFiles(root / "reference"))
    )
    cell = MeasuredCell(
        Snapshot(experiment, denoiser, LocalFiles(root / "training"), 64),
        lambda split: digits,
        LocalFiles(root / "cell"),
        context,
        GeneratedImages(digits.images[:1000], seconds=1.0, evaluations=0),
    )
    found = ask(SCORES, cell)
    planned = [
        name for name in measured_metrics(experiment) if name.startswith(("is", "inception_s", "k", "s"))
    ]
    assert set(found.metrics) == set(planned) - {"seconds_per_image"}
    assert set(found.evaluations.values()) == {0}  # none of them looks at the network
    return found


def test_the_kernel_distance_of_digits_from_digits_is_nothing_beside_its_spread(
    tmp_path: Path, digits: ImageSet
) -> None:
    """Digits in another order are of one distribution;
    the estimate is unbiased, and spreads by its subsets."""
    extractor = build_extractor("pixels", digits, files=LocalFiles(tmp_path))
    assert isinstance(extractor, NetworkExtractor)
    protocol = EvaluationProtocol(extractor="pixels", num_samples=1000, metrics=("kid",))
    metrics = measured(tmp_path, digits, extractor, protocol).metrics
    assert abs(metrics["kd_pixels"]) < 4 * metrics["kd_pixels_std"]


def test_all_three_are_measured_where_the_extractor_serves_them(tmp_path: Path, digits: ImageSet) -> None:
    device = torch.device("cpu")

    def pixels(count: int):
        return lambda images: images.flatten(1)[:, :count].float() / 255

    spatial = NetworkExtractor("inception_spatial", 12, "0" * 64, pixels(12), device)
    extractor = NetworkExtractor(
        "inception", 20, "0" * 64, pixels(20), device, logits=lambda features: 4 * features, spatial=spatial
    )
    protocol = EvaluationProtocol(extractor="inception", num_samples=1000, metrics=("is", "kid", "sfid"))
    metrics = measured(tmp_path, digits, extractor, protocol).metrics
    assert 1 < metrics["inception_score_1000"] < 20
    assert metrics["sfid_1000"] >= 0
