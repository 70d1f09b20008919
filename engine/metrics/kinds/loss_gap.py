"""How far the training loss lies above its optimum on the same images and noise [arXiv 2506.13763]."""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts


class OptimalLossGap(Metric):
    """Weighted as in training and per dimension, where `eval.loss_gap` asks; the same for all samplers."""

    name = "loss_gap"
    position = 80
    facts = (
        MetricFacts("optimal_loss_gap", "loss above optimum", "lower", group="loss"),
        MetricFacts("model_loss", "loss", "lower", group="loss"),
        # What data and noise levels alone decide: no sampler or network is better by it.
        MetricFacts("optimal_loss", "optimal loss", "neither", group="loss"),
    )
    on_request = False
    needs_images = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """With `eval.loss_gap`."""
        asked = experiment.eval.loss_gap is not None
        return tuple(fact.name for fact in self.facts) if asked else ()

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """The gap and the two losses whose difference it is."""
        found = cell.loss_gap()
        return {
            "optimal_loss_gap": found.excess,
            "model_loss": found.mean_model_loss,
            "optimal_loss": found.mean_optimal_loss,
        }


LOSS_GAP = OptimalLossGap()
