"""Links into MLflow's pages that show a sweep's runs in one chart."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from orchestrator.storage.store import Store
from orchestrator.tracking.connection import EXPERIMENT_PREFIX, connect

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

KINDS = {"train": "trainings", "cell": "cells"}
"""Value of the tag `orch.kind` -> what such runs are, in words."""


def chart_links(store: Store, address: str) -> list[tuple[str, str]]:
    """(what, link) into MLflow's page for each sweep: its trainings' curves, and its cells, in one chart."""
    client = connect(store)
    found = client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT_PREFIX}%'")
    return sorted(link for experiment in found for link in _links(client, experiment, address))


def _links(client: "MlflowClient", experiment: "Experiment", address: str) -> Iterator[tuple[str, str]]:
    """An experiment's links, for the kinds of runs that have a metric.

    The page charts folded runs only by their parent; sorting by a metric unfolds them.
    """
    sweep = experiment.name.removeprefix(EXPERIMENT_PREFIX)
    for kind, words in KINDS.items():
        query = f"tags.`orch.kind` = '{kind}'"
        runs = client.search_runs([experiment.experiment_id], query, max_results=1)
        metrics = sorted(runs[0].data.metrics) if runs else []
        if not metrics:
            continue
        view = {
            "searchFilter": query,
            "orderByKey": f"metrics.`{metrics[0]}`",
            "orderByAsc": "true",
            "compareRunsMode": "CHART",
        }
        page = f"{address}/#/experiments/{experiment.experiment_id}/runs"
        yield f"{sweep}, {words}", f"{page}?{urlencode(view)}"
