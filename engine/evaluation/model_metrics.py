"""Metrics of a cell that need no generated image: how likely real ones are, and how good the training loss
is."""

import json
from collections.abc import Callable

from engine.data.base import Split
from engine.data.datasets import ImageSet
from engine.evaluation.snapshot_cache import Snapshot, flow_likelihood, loss_gap
from engine.files import Files
from engine.metrics.bound import variational_bound

BOUND_FILE = "bound.json"
"""The variational bound's terms: prior, every step by the timestep it leaves, decoder; bits per dimension."""


def model_metrics(snapshot: Snapshot, split: Callable[[Split], ImageSet], files: Files) -> dict[str, float]:
    """What the protocol asks for of likelihood and loss gap; `split` gives the images of a split.

    `nelbo_*` is the variational bound of DDPM's own steps, `nll_*` the likelihood of the probability-flow
    ODE, both in bits per dimension; `optimal_loss_gap` is `model_loss - optimal_loss`, weighted as in
    training and per dimension. The terms of a bound, timestep by timestep, are written to `files`, the cell's
    folder.
    """
    protocol, found = snapshot.experiment.eval, dict[str, float]()
    if protocol.likelihood is not None and snapshot.experiment.sample.guidance == 1:
        found |= _likelihood(snapshot, split(protocol.likelihood.split), files)
    if protocol.loss_gap is not None:
        gap = loss_gap(snapshot, split("train"))
        found |= {"optimal_loss_gap": gap.excess, "model_loss": gap.mean_model_loss}
        found |= {"optimal_loss": gap.mean_optimal_loss}
    return found


def _likelihood(snapshot: Snapshot, images: ImageSet, files: Files) -> dict[str, float]:
    sampler, protocol = snapshot.experiment.sample, snapshot.experiment.eval
    rule = protocol.likelihood
    assert rule is not None
    if (chain := sampler.as_ddpm()) is not None:
        shown = images.images[: rule.num_images].to(snapshot.device)
        labels = snapshot.labels(images, rule.num_images)
        settings = {"seed": protocol.sample_seed, "batch_size": protocol.batch_size}
        bound = variational_bound(snapshot.denoiser, chain, shown, labels, **settings)
        files.write(BOUND_FILE, json.dumps(bound.to_json(), indent=1).encode())
        return {f"nelbo_{rule.split}": bound.total}
    return flow_likelihood(snapshot, images) if sampler.deterministic else {}
