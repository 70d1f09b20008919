"""What a metric tells of itself, and what it may look at. Imports no torch, so a plan can ask.

A kind of metric is one measurement: what it yields together (precision and recall, a loss and its optimum) is
computed once. It sees a cell through the protocols here, which the evaluation fills; so metrics stand below
configurations, and a configuration can name them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from engine.backbones.base import ModelBase
from engine.conflicts import ConfigConflict
from engine.data.base import Split
from engine.kinds import LAST
from engine.metrics.rules import Consistency, Likelihood, LossGap
from engine.records.metric_facts import MetricFacts
from engine.samplers.base import SamplerBase

if TYPE_CHECKING:
    from torch import Tensor

    from engine.data.datasets import ImageSet
    from engine.denoiser import Denoiser
    from engine.metrics.diagnosis import Diagnosis
    from engine.metrics.features import FeatureExtractor
    from engine.metrics.reference import Reference


class ProtocolView(Protocol):
    """What metrics read of the evaluation protocol."""

    @property
    def extractor(self) -> str:
        """Name of the feature extractor."""

    @property
    def num_samples(self) -> int:
        """Generated images of a cell."""

    @property
    def batch_size(self) -> int:
        """The one batch shape at which the network is evaluated."""

    @property
    def sample_seed(self) -> int:
        """Keys all noise of sampling and measuring."""

    @property
    def nearest_k(self) -> int:
        """Neighbours that span a manifold."""

    @property
    def consistency(self) -> Consistency | None:
        """Asks for the agreement with many steps."""

    @property
    def likelihood(self) -> Likelihood | None:
        """Asks for likelihoods."""

    @property
    def loss_gap(self) -> LossGap | None:
        """Asks for the loss above its optimum."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Kinds that are asked for by name."""


class ExperimentView(Protocol):
    """What metrics read of an experiment."""

    @property
    def model(self) -> ModelBase:
        """The network's configuration."""

    @property
    def sample(self) -> SamplerBase:
        """The sampler."""

    @property
    def eval(self) -> ProtocolView:
        """The evaluation protocol."""


class Cell(Protocol):
    """A cell that is being measured: its generated images, the real ones, and the network they come from."""

    @property
    def experiment(self) -> ExperimentView:
        """How the cell was made."""

    @property
    def denoiser(self) -> "Denoiser":
        """The network, ready to sample."""

    @property
    def images(self) -> "Tensor":
        """All generated images, uint8 [N, C, H, W]."""

    @property
    def features(self) -> "Tensor":
        """Their features, float32 [N, dims], computed once."""

    @property
    def seconds(self) -> float:
        """Seconds of generating all of them."""

    @property
    def extractor(self) -> "FeatureExtractor":
        """The protocol's feature extractor."""

    @property
    def reference(self) -> "Reference":
        """The training set under that extractor."""

    def real_images(self, split: Split) -> "ImageSet":
        """The images of a split of the data set."""

    def labels(self, images: "ImageSet", count: int) -> "Tensor | None":
        """Labels [count] of the first images, as the network is told them; None where it is not."""

    def keep(self, name: str, data: bytes) -> None:
        """Write a file of the metric's own into the cell's folder."""

    def flow_likelihood(self) -> Mapping[str, float]:
        """Likelihood of the probability-flow ODE as the protocol asks for it, measured once a snapshot."""

    def loss_gap(self) -> "Diagnosis":
        """The training loss beside its optimum as the protocol asks for it, measured once a snapshot."""

    def images_at_many_steps(self) -> "Tensor | None":
        """Images of the same latents at the many steps the protocol names, made once a snapshot."""

    def executed_share(self) -> float:
        """Share of what the network may skip that sampling executes."""


class Metric(ABC):
    """A measurement of a cell, and all that is known of the numbers it yields."""

    name: ClassVar[str]
    """What a protocol calls it in `eval.metrics`; a metric's own name where it yields one number."""
    position: ClassVar[int] = LAST
    """Its place in the order of measuring and of results."""
    facts: ClassVar[tuple[MetricFacts, ...]]
    """Name, label, better end, unit and group of every number it may yield."""
    on_request: ClassVar[bool] = True
    """Whether `eval.metrics` asks for it; others are asked
    for by a field of their own, or always measured."""
    needs_images: ClassVar[bool] = True
    """Whether it looks at generated images; others need the network alone."""

    counts_as_sampling: ClassVar[bool] = False
    """Whether the network evaluations it makes are told with
    those of sampling, and not with those of measuring."""

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """Names of the numbers that a cell of this experiment gets; none when nothing asks for them."""
        asked = self.name in experiment.eval.metrics
        return tuple(fact.name for fact in self.facts) if asked else ()

    def corrected_parts(self, experiment: ExperimentView) -> tuple[str, ...]:
        """Parts of the product, corrected since 0.4.0, on which its numbers for a cell depend
        [engine.records.corrections]."""
        return ()

    def needs(self, protocol: ProtocolView, num_real: int) -> Iterator[ConfigConflict]:
        """What a protocol that asks for it by name lacks, with `num_real` real images:
        an extractor, images."""
        yield from ()

    def facts_of(self, metric: str) -> MetricFacts | None:
        """What is known of a number by its name; None when it is not one of this kind."""
        return next((fact for fact in self.facts if fact.name == metric), None)

    @abstractmethod
    def measure(self, cell: Cell) -> Mapping[str, float]:
        """The numbers by name. It imports torch itself; network evaluations it makes are counted."""

    def executed_share(self, values: Mapping[str, float]) -> float | None:
        """Of the numbers measured of a cell, the share of its network that sampling executed;
        None where it is no metric of that."""
        return None

    def left_out(self, cell: Cell) -> Mapping[str, tuple[float, ...]]:
        """Values with each block of images left out, where their differences say how sure a number is."""
        return {}
