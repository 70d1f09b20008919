"""The typed, frozen configuration of one experiment: data, model, objective, train, sample, eval.
Imports no torch."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from engine.backbones.base import Probability
from engine.backbones.registry import Model
from engine.config.train import Train
from engine.config.weights import EmaWeights, Weights, weights_conflicts
from engine.conflicts import ConfigConflict
from engine.data.registry import DATASETS, DatasetName
from engine.frozen import Frozen
from engine.metrics.extractors.registry import ExtractorName
from engine.metrics.registry import check_requested, metric_conflicts
from engine.metrics.rules import Consistency as Consistency
from engine.metrics.rules import Likelihood as Likelihood
from engine.metrics.rules import LossGap as LossGap
from engine.objectives.base import StartFacts
from engine.objectives.registry import Objective
from engine.process.schedules import TERMINAL_SIGMA, NoiseRange
from engine.samplers.base import NetworkFacts
from engine.samplers.heun import Heun
from engine.samplers.registry import Sampler


class Data(Frozen):
    """Which images are learned."""

    name: DatasetName
    """digits: scikit-learn's 1,797 bundled 8x8 images; cifar10 and fashion_mnist: read from the data root."""
    x_flip: bool = False
    """Show every image mirrored half of the time (EDM keeps this off on CIFAR-10)."""
    augment: Probability = 0.0
    """Probability of each of EDM's non-leaky augmentations;
    the network is told which were applied [playbook 1.3]."""

    @property
    def corrected_parts(self) -> tuple[str, ...]:
        """The augmentation, where there is any."""
        return ("augmentation",) if self.augment > 0 else ()


class Selection(Frozen):
    """The locked deterministic sampler that picks the snapshot to report [playbook 5.6]."""

    sampler: Heun = Heun(num_steps=18)
    """Deterministic sampler; all snapshots share its latents."""
    num_samples: int = Field(default=10_000, ge=2)
    """Images per snapshot."""


class EvaluationProtocol(Frozen):
    """The evaluation protocol: the same for every cell of a sweep."""

    extractor: ExtractorName = "classifier"
    """Feature space: a small CNN trained on the data set's
    labels, Inception-v3, or randomly projected pixels."""
    num_samples: int = Field(default=10_000, ge=2)
    """Images per cell."""
    batch_size: int = Field(default=64, ge=1)
    """The one batch shape at which the network is evaluated;
    it makes images independent of how work is split."""
    sample_seed: int = Field(default=0, ge=0)
    """Keys the latents and every noise draw of sampling."""
    nearest_k: int = Field(default=3, ge=1)
    """Neighbours that span the manifold of precision, recall, density and coverage."""
    selection: Selection = Selection()
    """How the snapshot is chosen."""
    consistency: Consistency | None = None
    """Also measure how far deterministic samplers agree with themselves at many steps."""
    likelihood: Likelihood | None = None
    """Also measure how likely images are."""
    loss_gap: LossGap | None = None
    """Also measure how far the training loss lies above its optimum."""
    metrics: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Also measure these, which no other field asks for."""

    @field_validator("metrics")
    @classmethod
    def _only_what_nothing_else_asks_for(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_requested(names)
        return names


class Start(Frozen):
    """The finished training that another one starts from:
    its last snapshot's averaged weights, the same data set."""

    objective: Objective
    """The objective it was trained with."""
    train: Train
    """How it was trained."""
    model: Model | None = None
    """Its network, when that is not the same. A DyDiT starts from the DiT of its size."""


class Experiment(Frozen):
    """One complete experiment. A recipe is one of these; every point of a grid becomes one."""

    data: Data
    model: Model
    objective: Objective
    train: Train
    sample: Sampler
    eval: EvaluationProtocol
    start: Start | None = None
    """The training this one continues from; None starts from fresh weights."""
    weights: Weights = EmaWeights()
    """Which average of the weights is sampled. It costs no training of its own."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Experiment":
        for _, message in config_conflicts(self):
            raise ValueError(message)
        return self

    @property
    def parent(self) -> "Experiment | None":
        """The experiment whose training this one starts from."""
        if self.start is None:
            return None
        model = self.start.model or self.model.default_start()
        sections = {"model": model, "objective": self.start.objective, "train": self.start.train}
        # A parent is only sampled to choose its snapshot, and
        # this one's sampler may need what only this one learns.
        rest = {"sample": self.eval.selection.sampler, "weights": EmaWeights(), "start": None}
        return self.model_copy(update=sections | rest).held_to_trained_levels()

    @property
    def trained_levels(self) -> NoiseRange:
        """The lowest and highest noise level that the network was shown."""
        return self.base_objective.design.process.sigma_range

    @property
    def selection_sampler(self) -> Sampler:
        """The sampler that picks the snapshot, within the noise
        levels that the network was shown [playbook 5.3]."""
        return self.eval.selection.sampler.within(self.trained_levels)

    def held_to_trained_levels(self) -> "Experiment":
        """The experiment with its effective sampler: within the noise levels that the network was shown.

        Points of a grid are made so, once; all that plans, runs and reports them sees what is really done.
        """
        held = self.sample.within(self.trained_levels)
        return self if held is self.sample else self.model_copy(update={"sample": held})

    @property
    def base_objective(self) -> Objective:
        """The objective that says what the network predicts: a head's is that of its start."""
        return self.start.objective if self.objective.is_head and self.start else self.objective


def config_conflicts(experiment: Experiment) -> list[ConfigConflict]:
    """Sections that do not fit together."""
    return [
        *_start_conflicts(experiment),
        *_schedule_conflicts(experiment),
        *_warmup_conflicts(experiment),
        *weights_conflicts(experiment.weights, experiment.train),
        *_sampler_conflicts(experiment),
        *metric_conflicts(experiment.eval, DATASETS[experiment.data.name].num_images),
    ]


def _start_conflicts(experiment: Experiment) -> Iterator[ConfigConflict]:
    start = experiment.start
    facts = None if start is None else StartFacts(start.objective, start.model, experiment.model)
    return experiment.objective.start_conflicts(facts)


def _schedule_conflicts(experiment: Experiment) -> Iterator[ConfigConflict]:
    return experiment.model.schedule_conflicts(experiment.objective.design.training_schedule.kind)


def _warmup_conflicts(experiment: Experiment) -> Iterator[ConfigConflict]:
    """A warm-up that the training does not outlast would leave its objective untrained."""
    start = experiment.start
    trainings = [("", experiment.objective, experiment.train)]
    if start is not None:
        trainings.append(("start.", start.objective, start.train))
    for place, objective, train in trainings:
        if objective.warmup_images and objective.warmup_images >= 1000 * train.total_kimg:
            reason = (
                f"a warm-up of {objective.warmup_images / 1000:g} kimg leaves nothing of {train.total_kimg:g}"
            )
            yield (f"{place}objective.warmup_kimg", f"{place}train.total_kimg"), f"{objective.kind}: {reason}"


def _sampler_conflicts(experiment: Experiment) -> Iterator[ConfigConflict]:
    network = _network_facts(experiment)
    sampler = experiment.sample
    protocol = experiment.eval
    yield from sampler.guidance_conflicts(network, "sample")
    yield from protocol.selection.sampler.guidance_conflicts(network, "eval.selection.sampler")
    yield from sampler.level_conflicts(network, "sample")
    yield from protocol.selection.sampler.level_conflicts(network, "eval.selection.sampler")
    likelihood = protocol.likelihood
    data = DATASETS[experiment.data.name]
    if likelihood and likelihood.split == "test" and not data.num_test_images:
        reason = f"{experiment.data.name} has no test split; use train"
        yield ("eval.likelihood.split", "data.name"), reason
    rule = protocol.consistency
    yield from sampler.conflicts(network, None if rule is None else rule.num_steps)


def _network_facts(experiment: Experiment) -> NetworkFacts:
    """What a sampler must know of the experiment's network."""
    base = experiment.base_objective
    design = base.design
    # eps and the score say nothing of the image where there is nothing but noise.
    defined = design.target not in ("eps", "score")
    return NetworkFacts(
        objective=experiment.objective.kind,
        prediction_objective=base.kind,
        has_null_label=experiment.model.has_null_label,
        knows_pure_noise=defined and design.process.sigma_range[1] >= TERMINAL_SIGMA,
        learned_variance=design.learned_variance,
        covariance_head=experiment.objective.head_covariance,
        channels=DATASETS[experiment.data.name].channels,
        trained_levels=experiment.trained_levels,
    )
