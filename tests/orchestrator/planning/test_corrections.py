"""A correction renames the work whose results it changes, and no other."""

from typing import Any

from fixed_experiment import BASE

from engine.config.experiment import Likelihood
from engine.samplers.ddpm import Ddpm
from orchestrator.planning.identity import (
    cell_versions,
    protocol_id,
    training_versions,
)


def test_a_correction_renames_what_it_touches_and_nothing_else() -> None:
    augmented = BASE.model_copy(update={"data": BASE.data.model_copy(update={"augment": 0.12})})
    assert training_versions(BASE) == {}
    assert training_versions(augmented) == {"augmentation": 2}
    assert cell_versions(augmented) == {}


def test_the_corrected_bound_renames_only_cells_that_it_changes() -> None:
    def versions(likelihood: Likelihood | None, **sampler: Any) -> dict[str, int]:
        protocol = BASE.eval.model_copy(update={"likelihood": likelihood})
        chosen = Ddpm(num_steps=10, **sampler)
        return cell_versions(BASE.model_copy(update={"eval": protocol, "sample": chosen}))

    for covariance in ("analytic", "ocm"):
        assert versions(Likelihood(), covariance=covariance) == {"bound": 2}
        # No bound, one of P6's convention, or no timestep 0: nothing was corrected.
        assert versions(None, covariance=covariance) == {}
        assert versions(Likelihood(), covariance=covariance, guidance=2.0) == {}
        assert versions(Likelihood(decoder="chain"), covariance=covariance) == {}
        assert versions(Likelihood(), covariance=covariance, tau="trailing") == {}
    for covariance in ("beta", "beta_tilde", "learned_range"):
        assert versions(Likelihood(), covariance=covariance) == {}


def test_conventions_of_bounds_never_share_a_protocol() -> None:
    def protocol(**conventions: Any) -> str:
        likelihood = Likelihood(**conventions)
        rule = BASE.eval.model_copy(update={"likelihood": likelihood})
        return protocol_id(BASE.model_copy(update={"eval": rule}))

    found = [protocol(), protocol(decoder="chain"), protocol(normal="tanh")]
    assert len(set(found)) == 3
    assert protocol(decoder="walk", normal="exact") == found[0]
