"""What many cells of one snapshot share: measured once, kept in the training's folder and read from there."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.data.datasets import ImageSet, points_of, to_unit
from engine.denoiser import Denoiser
from engine.files import Files, pack, unpack
from engine.guidance import NULL_LABEL
from engine.metrics.diagnosis import HIGHEST_SIGMA, LOWEST_SIGMA, Diagnosis, diagnose, quantile_levels
from engine.metrics.ode_likelihood import ode_likelihood
from engine.process.analytic import AnalyticVariance, analytic_gammas
from engine.records import paths
from engine.sampling.generate import generate_images

ANALYTIC_IMAGES = 2_048
"""Images over which Analytic-DPM's variance is measured; the control variate makes so few enough."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network at one point of a training, with the experiment that says how it is sampled and measured."""

    experiment: Experiment
    denoiser: Denoiser
    files: Files
    """The training's folder."""
    images_shown: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.denoiser.parameters()).device

    def labels(self, images: ImageSet, count: int) -> Tensor | None:
        """Labels [count] of the first images, as the network is told them."""
        return images.labels[:count].to(self.device) if self.experiment.model.class_conditional else None

    def once(self, folder: str, *depends_on: Any, suffix: str = ".json", make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from a file that is named by snapshot, weights and what else it depends on."""
        parts = [self.images_shown, self.experiment.weights.model_dump(), *depends_on]
        name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        kept = self.files.read(f"{folder}/{name}{suffix}")
        if kept is None:
            kept = make()
            self.files.write(f"{folder}/{name}{suffix}", kept)
        return kept


def reference_images(snapshot: Snapshot) -> Tensor | None:
    """Images of the experiment's sampler at the many steps its protocol names.

    None when the protocol does not ask for them, or the sampler draws noise at either number of steps [P2
    5.2; playbook 5.2].
    """
    experiment = snapshot.experiment
    protocol = snapshot.experiment.eval
    rule = protocol.consistency
    many = rule.many_steps(experiment.sample) if rule else None
    if rule is None or many is None:
        return None
    count = min(rule.num_samples, protocol.num_samples)
    settings = {"count": count, "seed": protocol.sample_seed, "batch_size": protocol.batch_size}

    def make() -> bytes:
        return pack({"images": generate_images(snapshot.denoiser, experiment, many, **settings)}, {})

    return unpack(snapshot.once(paths.AGREEMENT, many.canonical().form, settings, suffix="", make=make))[0][
        "images"
    ]


def analytic_variance(snapshot: Snapshot, images: ImageSet) -> AnalyticVariance:
    """Analytic-DPM's variance of a snapshot at the sampler's noise levels.

    It uses the training set's first ANALYTIC_IMAGES images [Bao et al. 2022; engine facts B9], with their
    labels unless the sampler hides them.
    """
    experiment = snapshot.experiment
    sigmas = list(experiment.sample.variance_sigmas)
    assert sigmas, "only a sampler that asks for a variance has one measured"
    count = min(ANALYTIC_IMAGES, len(images.images))
    hidden = experiment.sample.guidance == 0

    def make() -> bytes:
        labels = snapshot.labels(images, count)
        gammas = analytic_gammas(
            snapshot.denoiser,
            to_unit(images.images[:count].to(snapshot.device)),
            sigmas,
            seed=experiment.train.seed,
            batch_size=experiment.eval.batch_size,
            labels=torch.full_like(labels, NULL_LABEL) if hidden and labels is not None else labels,
        )
        return json.dumps({"sigmas": sigmas, "gammas": gammas}).encode()

    kept = json.loads(snapshot.once(paths.ANALYTIC, sigmas, count, hidden, make=make))
    return AnalyticVariance(**{name: tuple(values) for name, values in kept.items()})


def flow_likelihood(snapshot: Snapshot, images: ImageSet) -> dict[str, float]:
    """Bits per dimension of the protocol's images under the
    probability-flow ODE, and the solver's own error of it.

    The ODE runs over the noise levels that training showed, within 0.002 ..
    80: elsewhere the network is a guess.
    """
    rule = snapshot.experiment.eval.likelihood
    protocol = snapshot.experiment.eval
    assert rule is not None, "the protocol asks for no likelihood"
    low, high = snapshot.experiment.base_objective.design.process.sigma_range
    sigma_min, sigma_max = max(low, LOWEST_SIGMA), min(high, HIGHEST_SIGMA)

    def make() -> bytes:
        found = ode_likelihood(
            snapshot.denoiser,
            images.images[: rule.num_images].to(snapshot.device),
            snapshot.labels(images, rule.num_images),
            seed=protocol.sample_seed,
            batch_size=protocol.batch_size,
            num_steps=rule.ode_steps,
            sigma_min=sigma_min,
            sigma_max=sigma_max,
        )
        return json.dumps(
            {f"nll_{rule.split}": found.bits_per_dim, "nll_solver_error": found.solver_error}
        ).encode()

    settings = [
        rule.model_dump(),
        images.sha256,
        protocol.sample_seed,
        protocol.batch_size,
        sigma_min,
        sigma_max,
    ]
    return dict(json.loads(snapshot.once(paths.LIKELIHOOD, *settings, make=make)))


def loss_gap(snapshot: Snapshot, images: ImageSet) -> Diagnosis:
    """The training loss beside its optimum at noise levels
    as training shows them, as the protocol asks for it."""
    rule = snapshot.experiment.eval.loss_gap
    assert rule is not None, "the protocol asks for no gap"
    levels = quantile_levels(snapshot.experiment.base_objective.design, rule.num_levels)
    return diagnosis(snapshot, images, levels, rule.num_draws)


def diagnosis(snapshot: Snapshot, images: ImageSet, sigmas: tuple[float, ...], num_draws: int) -> Diagnosis:
    """The snapshot's loss beside its optimum on the training
    images, at `sigmas`, of `num_draws` noisy images each.

    A data set that is shown mirrored is one of twice as many images.
    """
    experiment = snapshot.experiment
    seed = experiment.train.seed
    batch_size = experiment.eval.batch_size
    flipped = experiment.data.x_flip

    def make() -> bytes:
        labelled = experiment.model.class_conditional
        points, labels = points_of(images, mirrored=flipped, labelled=labelled)
        design = experiment.base_objective.design
        found = diagnose(
            snapshot.denoiser,
            design,
            points.to(snapshot.device),
            None if labels is None else labels.to(snapshot.device),
            sigmas,
            num_draws=num_draws,
            seed=seed,
            batch_size=batch_size,
        )
        return json.dumps(found.to_json()).encode()

    kept = snapshot.once(
        paths.DIAGNOSIS, list(sigmas), num_draws, seed, batch_size, flipped, images.sha256, make=make
    )
    return Diagnosis.from_json(json.loads(kept))
