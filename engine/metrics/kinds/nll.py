"""Likelihood of real images under the probability-flow ODE [Song et al. 2021], and its solver's own error."""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts


class FlowLikelihood(Metric):
    """The same for all unguided samplers that draw no noise, where `eval.likelihood` asks."""

    name = "nll"
    position = 70
    facts = (
        *(
            MetricFacts(
                f"nll_{split}", f"NLL, {split} (bits / dim)", "lower", unit="bits / dim", group="likelihood"
            )
            for split in ("train", "test")
        ),
        MetricFacts(
            "nll_solver_error",
            "NLL solver's error (bits / dim)",
            "lower",
            unit="bits / dim",
            group="likelihood",
        ),
    )
    on_request = False
    needs_images = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """With `eval.likelihood`, of deterministic samplers that have no bound of their own."""
        rule = experiment.eval.likelihood
        sampler = experiment.sample
        if rule is None or sampler.guidance != 1 or sampler.as_ddpm() or not sampler.deterministic:
            return ()
        return (f"nll_{rule.split}", "nll_solver_error")

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Both, once for all cells of a snapshot."""
        return cell.flow_likelihood()


FLOW_LIKELIHOOD = FlowLikelihood()
