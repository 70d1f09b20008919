"""Metrics that need no generated image: what a protocol
asks for is measured once and kept with the training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.build import build_denoiser, build_network
from engine.config.experiment import Consistency, Data, EvaluationProtocol, Experiment, Likelihood, LossGap
from engine.config.train import Train
from engine.data.base import Split
from engine.data.datasets import ImageSet, load_images, to_unit
from engine.evaluation import snapshot_cache as snapshot_facts
from engine.evaluation.measured_cell import MeasuredCell, ask
from engine.evaluation.snapshot_cache import Snapshot, diagnosis, loss_gap, reference_images
from engine.files import LocalFiles
from engine.metrics.bound import variational_bound
from engine.metrics.registry import METRICS
from engine.objectives.simple import SimpleObjective
from engine.records.paths import BOUND
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun

LIKELIHOOD = Likelihood(num_images=4, ode_steps=4)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    whole = load_images("digits", None)
    return ImageSet.of(whole.images[:64], whole.labels[:64])


def snapshot(root: Path, sampler: Any = None, x_flip: bool = False, **protocol: Any) -> Snapshot:
    experiment = Experiment(
        data=Data(name="digits", x_flip=x_flip),
        model=DdpmPlusPlus(
            channels=8, channel_mult=(1,), num_blocks=1, attention_resolutions=(), class_conditional=True,
            label_dropout=0.1,
        ),
        objective=SimpleObjective(),
        train=Train(batch_size=16, total_kimg=0.064, snapshot_kimg=0.064),
        sample=sampler or Heun(num_steps=3),
        eval=EvaluationProtocol(batch_size=4, **protocol),
    )  # fmt: skip
    denoiser = build_denoiser(experiment, build_network(experiment)).eval().requires_grad_(False)
    return Snapshot(experiment, denoiser, LocalFiles(root), 64)


def model_metrics(taken: Snapshot, split: Callable[[Split], ImageSet], files: LocalFiles) -> dict[str, float]:
    """What is measured of the network alone."""
    without_images = [kind for kind in METRICS.values() if not kind.needs_images]
    return ask(without_images, MeasuredCell(taken, split, files)).metrics


def measure(taken: Snapshot, digits: ImageSet, root: Path) -> dict[str, float]:
    return model_metrics(taken, lambda split: digits, LocalFiles(root / "cell"))


def test_a_protocol_that_asks_for_nothing_costs_nothing(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    assert model_metrics(snapshot(tmp_path), lambda split: pytest.fail("no images are needed"), files) == {}


def test_ddpm_gets_the_bound_of_its_own_chain_and_others_none(tmp_path: Path, digits: ImageSet) -> None:
    for covariance in ("beta", "beta_tilde"):
        sampler = Ddpm(num_steps=4, covariance=covariance)
        taken = snapshot(tmp_path, sampler, likelihood=LIKELIHOOD)
        expected = variational_bound(
            taken.denoiser, sampler, digits.images[:4], digits.labels[:4], seed=0, batch_size=4
        ).total
        assert measure(taken, digits, tmp_path) == {"nelbo_train": expected}
        terms = json.loads((tmp_path / "cell" / BOUND).read_bytes())
        whole = terms["prior"] + sum(step["kl"] for step in terms["steps"]) + terms["decoder"]
        assert whole == pytest.approx(expected, rel=1e-12)
    churned = EdmStochastic(num_steps=4, s_churn=1.0)
    assert measure(snapshot(tmp_path, churned, likelihood=LIKELIHOOD), digits, tmp_path) == {}


def test_deterministic_samplers_share_the_likelihood_of_the_ode(
    tmp_path: Path, digits: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure(snapshot(tmp_path, Heun(num_steps=3), likelihood=LIKELIHOOD), digits, tmp_path)
    assert set(first) == {"nll_train", "nll_solver_error"}
    monkeypatch.setattr(
        snapshot_facts, "ode_likelihood", lambda *args, **settings: pytest.fail("measured twice")
    )
    assert measure(snapshot(tmp_path, Ddim(num_steps=5), likelihood=LIKELIHOOD), digits, tmp_path) == first


def test_one_step_of_ddpm_is_one_of_ddim_and_measured_like_it(tmp_path: Path, digits: ImageSet) -> None:
    one, other = Ddpm(num_steps=1), Ddim(num_steps=1, clip="x0")
    assert one.canonical().form == other.canonical().form
    found = [
        measure(snapshot(tmp_path, sampler, likelihood=LIKELIHOOD), digits, tmp_path)
        for sampler in (one, other)
    ]
    assert found[0] == found[1]
    assert set(found[0]) == {"nll_train", "nll_solver_error"}


def test_a_sampler_that_adds_noise_at_many_steps_has_no_images_to_agree_with(tmp_path: Path) -> None:
    rule = Consistency(num_steps=10, num_samples=4)
    assert reference_images(snapshot(tmp_path, Ddpm(num_steps=1), consistency=rule)) is None


def test_guided_samplers_have_no_likelihood(tmp_path: Path, digits: ImageSet) -> None:
    guided = snapshot(tmp_path, Ddpm(num_steps=4, guidance=2.0), likelihood=LIKELIHOOD)
    assert measure(guided, digits, tmp_path) == {}


def test_the_gap_is_what_the_loss_has_above_its_optimum(tmp_path: Path, digits: ImageSet) -> None:
    rule = LossGap(num_levels=4, num_draws=32)
    found = measure(snapshot(tmp_path, loss_gap=rule), digits, tmp_path)
    assert set(found) == {"optimal_loss_gap", "model_loss", "optimal_loss"}
    assert found["model_loss"] == pytest.approx(found["optimal_loss"] + found["optimal_loss_gap"], rel=1e-12)
    # A fresh network predicts eps = 0, whose squared error is 1 on average:
    # 32 x 4 draws of 64 pixels are near.
    assert found["model_loss"] == pytest.approx(1.0, abs=5 * (2 / (32 * 4 * 64)) ** 0.5)
    again = loss_gap(snapshot(tmp_path, loss_gap=rule), digits)
    assert again.excess == found["optimal_loss_gap"]


def test_images_that_training_mirrors_count_twice(tmp_path: Path, digits: ImageSet) -> None:
    both = torch.cat([digits.images, digits.images.flip(-1)])
    doubled = ImageSet.of(both, digits.labels.repeat(2))
    settings: tuple[Any, ...] = ((0.5, 1.0), 64)
    flipped = diagnosis(snapshot(tmp_path / "a", x_flip=True), digits, *settings)
    written_out = diagnosis(snapshot(tmp_path / "b"), doubled, *settings)
    assert flipped.optimal_loss == written_out.optimal_loss
    assert flipped.optimal_loss != diagnosis(snapshot(tmp_path / "c"), digits, *settings).optimal_loss


@pytest.mark.slow
def test_at_large_noise_the_optimum_is_the_variance_within_a_class(tmp_path: Path, digits: ImageSet) -> None:
    points = to_unit(digits.images).double().flatten(1)
    own = torch.stack([points[digits.labels == label].var(0, correction=0).mean() for label in digits.labels])
    found = diagnosis(snapshot(tmp_path), digits, (1e4,), 4_096)
    # Draws choose images at random, so classes by their size:
    # the mean over images, with its own standard error.
    assert found.optimal_loss[0] == pytest.approx(float(own.mean()), abs=5 * float(own.std()) / 4_096**0.5)
