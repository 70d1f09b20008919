"""What reports must know of the metrics that a sweep measured."""

from collections.abc import Iterable

from engine.records.metric_facts import Better, MetricFacts, is_distance

OVERLAP = ("precision", "recall", "density", "coverage")
LABELS = {
    "flops_ratio": "executed FLOPs",
    "nelbo_train": "NELBO, train",
    "nelbo_test": "NELBO, test",
    "nll_train": "NLL, train",
    "nll_test": "NLL, test",
    "nll_solver_error": "NLL, solver's error",
    "model_loss": "loss",
    "optimal_loss": "optimal loss",
    "optimal_loss_gap": "loss above optimum",
}


def facts_of(metrics: Iterable[str]) -> dict[str, MetricFacts]:
    """Metric -> its facts, by name."""
    return {metric: _facts(metric) for metric in sorted(metrics)}


def _facts(metric: str) -> MetricFacts:
    label = LABELS.get(metric, metric)
    if is_distance(metric):
        return MetricFacts(metric, metric, "lower", group="distance", per_image_count=True)
    if metric in OVERLAP:
        return MetricFacts(metric, label, "higher", group="overlap", per_image_count=True)
    if metric == "agreement":
        return MetricFacts(metric, label, "higher", group="agreement")
    if metric == "seconds_per_image":
        return MetricFacts(metric, "ms / image", "lower", unit="s", group="cost", scale=1000.0)
    if metric.startswith(("nelbo_", "nll_")):
        return MetricFacts(metric, label, "lower", unit="bits / dim", group="likelihood")
    better: Better = "neither" if metric in ("optimal_loss", "flops_ratio") else "lower"
    if metric in LABELS:
        return MetricFacts(metric, label, better, group="loss" if "loss" in metric else "cost")
    return MetricFacts(metric, label, "neither")
