"""A cell as metrics see it, and asking every metric that the protocol asks for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.data.base import Split
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.evaluation.snapshot_cache import Snapshot, flow_likelihood, loss_gap, reference_images
from engine.files import Files
from engine.metrics.base import Metric
from engine.metrics.diagnosis import Diagnosis
from engine.metrics.features import FeatureExtractor
from engine.metrics.reference import Reference
from engine.sampling.generate import generate_images
from engine.sampling.generation import GeneratedImages


@dataclass(frozen=True)
class ReferenceContext:
    """What images are compared with: a feature extractor and the training set's statistics under it."""

    extractor: FeatureExtractor
    reference: Reference


@dataclass(frozen=True)
class Measurements:
    """The numbers of a cell, and the network evaluations that measuring them took."""

    metrics: dict[str, float] = field(default_factory=dict)
    jackknife: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric -> its values with each block of images left out; empty where they are not taken."""
    evaluations: dict[str, int] = field(default_factory=dict)
    """Kind of metric -> images times network evaluations that it took, padding included."""


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """A cell that is being measured [engine.metrics.base.Cell].

    Without `context` and `generated` it serves metrics that look at the network alone.
    """

    snapshot: Snapshot
    split: Callable[[Split], ImageSet]
    """Gives the real images of a split."""
    files: Files
    """The cell's folder."""
    context: ReferenceContext | None = None
    generated: GeneratedImages | None = None

    @property
    def experiment(self) -> Experiment:
        """How the cell was made."""
        return self.snapshot.experiment

    @property
    def denoiser(self) -> Denoiser:
        """The network, ready to sample."""
        return self.snapshot.denoiser

    @property
    def images(self) -> Tensor:
        """All generated images, uint8 [N, C, H, W]."""
        assert self.generated is not None, "this cell is measured without images"
        return self.generated.images

    @property
    def seconds(self) -> float:
        """Seconds of generating all of them."""
        assert self.generated is not None, "this cell is measured without images"
        return self.generated.seconds

    @property
    def extractor(self) -> FeatureExtractor:
        """The protocol's feature extractor."""
        assert self.context is not None, "this cell is measured without images"
        return self.context.extractor

    @property
    def reference(self) -> Reference:
        """The training set under that extractor."""
        assert self.context is not None, "this cell is measured without images"
        return self.context.reference

    @cached_property
    def features(self) -> Tensor:
        """Features of all images, float32 [N, dims]; computed once for all metrics."""
        return self.extractor(self.images)

    def real_images(self, split: Split) -> ImageSet:
        """The images of a split of the data set."""
        return self.split(split)

    def labels(self, images: ImageSet, count: int) -> Tensor | None:
        """Labels [count] of the first images, as the network is told them; None where it is not."""
        return self.snapshot.labels(images, count)

    def keep(self, name: str, data: bytes) -> None:
        """Write a file of the metric's own into the cell's folder."""
        self.files.write(name, data)

    def flow_likelihood(self) -> dict[str, float]:
        """Likelihood of the probability-flow ODE as the protocol asks for it, measured once a snapshot."""
        rule = self.experiment.eval.likelihood
        assert rule is not None, "the protocol asks for no likelihood"
        return flow_likelihood(self.snapshot, self.split(rule.split))

    def loss_gap(self) -> Diagnosis:
        """The training loss beside its optimum as the protocol asks for it, measured once a snapshot."""
        return loss_gap(self.snapshot, self.split("train"))

    def images_at_many_steps(self) -> Tensor | None:
        """Images of the same latents at the many steps the protocol names, made once a snapshot."""
        return reference_images(self.snapshot)

    def executed_share(self) -> float:
        """Share of what the network may skip that it executes, over all evaluations of the first batch.

        That batch is sampled once more. Padding does not count in the mean.
        """
        experiment = self.experiment
        protocol = self.experiment.eval
        count = min(protocol.num_samples, protocol.batch_size)
        with experiment.model.watch_executed(self.denoiser.net) as ratios:
            generate_images(
                self.denoiser,
                experiment,
                experiment.sample,
                count=count,
                seed=protocol.sample_seed,
                batch_size=protocol.batch_size,
            )
        return float(torch.stack([ratio[:count] for ratio in ratios]).mean())


def ask(kinds: Iterable[Metric], cell: MeasuredCell) -> Measurements:
    """Measure everything of these kinds that the protocol asks for, in their order.

    The denoiser's own count of evaluations stays as it was: that one is of the images.
    """
    found = Measurements()
    before = cell.denoiser.nfe
    for kind in kinds:
        if not kind.measured_in(cell.experiment):
            continue
        found.metrics.update(kind.measure(cell))
        found.jackknife.update(kind.left_out(cell))
        found.evaluations[kind.name] = (cell.denoiser.nfe - before) * cell.experiment.eval.batch_size
        cell.denoiser.nfe = before
    return found
