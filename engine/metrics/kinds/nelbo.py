"""The variational bound on the likelihood of real images
under DDPM's own steps [P1 Eq. 4-7; playbook 5.5]."""

import json
from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts
from engine.records.paths import BOUND


class VariationalBound(Metric):
    """Of unguided samplers that walk DDPM's chain, where `eval.likelihood` asks."""

    name = "nelbo"
    position = 60
    facts = tuple(
        MetricFacts(
            f"nelbo_{split}",
            f"NELBO, {split} (bits / dim)",
            "lower",
            unit="bits / dim",
            group="likelihood",
        )
        for split in ("train", "test")
    )
    on_request = False
    needs_images = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """With `eval.likelihood`, of DDPM and what is the same as it."""
        rule = experiment.eval.likelihood
        sampler = experiment.sample
        if rule is None or sampler.guidance != 1 or sampler.as_ddpm() is None:
            return ()
        return (f"nelbo_{rule.split}",)

    def corrected_parts(self, experiment: ExperimentView) -> tuple[str, ...]:
        """The last term of a walk to timestep 0 that knows Cov[x0 | x]: it had P6's convention."""
        rule = experiment.eval.likelihood
        chain = experiment.sample.as_ddpm()
        if not self.measured_in(experiment) or rule is None or chain is None or rule.decoder != "walk":
            return ()
        changed = chain.covariance in ("analytic", "ocm") and chain.timesteps[0] == 0
        return ("bound",) if changed else ()

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """The bound; its terms, timestep by timestep, are kept with the cell."""
        from engine.metrics.bound import variational_bound

        protocol = cell.experiment.eval
        rule = protocol.likelihood
        chain = cell.experiment.sample.as_ddpm()
        assert rule is not None, "the protocol asks for no likelihood"
        assert chain is not None, "asked of a sampler without a chain"
        images = cell.real_images(rule.split)
        device = next(cell.denoiser.parameters()).device
        bound = variational_bound(
            cell.denoiser,
            chain,
            images.images[: rule.num_images].to(device),
            cell.labels(images, rule.num_images),
            seed=protocol.sample_seed,
            batch_size=protocol.batch_size,
            decoder=rule.decoder,
            normal_cdf=rule.normal,
        )
        cell.keep(BOUND, json.dumps(bound.record().to_json(), indent=1).encode())
        return {f"nelbo_{rule.split}": bound.total}


VARIATIONAL_BOUND = VariationalBound()
