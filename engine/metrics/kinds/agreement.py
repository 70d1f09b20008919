"""How far images of few steps are those of many from the same latents [P2 5.2; playbook 5.2]."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts

if TYPE_CHECKING:
    from torch import Tensor


class AgreementWithManySteps(Metric):
    """The solver's error alone, not the model's:
    of samplers that draw no noise, where `eval.consistency` asks."""

    name = "agreement"
    position = 40
    facts = (MetricFacts(name, name, "higher", group="agreement"),)
    on_request = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """With `eval.consistency`, unless the sampler draws noise at either number of steps."""
        rule = experiment.eval.consistency
        held_against = rule.many_steps(experiment.sample) if rule else None
        return (self.name,) if held_against else ()

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Agreement of the first images with those of many steps."""
        many = cell.images_at_many_steps()
        assert many is not None, "asked of a sampler that draws noise"
        return {self.name: agreement(cell.images[: len(many)].float(), many.float())}


def agreement(images: "Tensor", reference: "Tensor") -> float:
    """1 - mean_i |x_i - y_i|^2 / mean_{i != j} |x_i - y_j|^2 of images or features [N, ...] of N latents.

    1: the same images. 0: no more alike than images of two different latents. ValueError for fewer than three
    of them, or for different shapes.
    """
    import torch

    x = images.flatten(1).double()
    y = reference.flatten(1).double()
    if x.shape != y.shape or len(x) < 3:
        raise ValueError(
            f"agreement needs two sets of as many images, three or more, not {len(x)} and {len(y)}"
        )
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    count = len(x)
    matched = distances.diagonal().sum()
    if matched == 0:
        return 1.0
    unrelated = (distances.sum() - matched) / (count * (count - 1))
    return float(1 - matched / count / unrelated)


AGREEMENT = AgreementWithManySteps()
