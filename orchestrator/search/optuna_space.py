"""A grid as Optuna sees it: one categorical choice a dimension, the number of an option."""

from typing import TYPE_CHECKING

from orchestrator.grid import Search, Sweep, search_dimensions

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution
    from optuna.samplers import BaseSampler

Proposal = dict[str, int]
"""Dimension -> number of the option that is proposed."""


def option_numbers(sweep: Sweep) -> "dict[str, CategoricalDistribution]":
    """Optuna's view of the space: for each dimension, the number of an option."""
    from optuna.distributions import CategoricalDistribution

    return {name: CategoricalDistribution(range(len(options))) for name, options in search_dimensions(sweep)}


def optuna_sampler(settings: Search, *, tried: int = 0, batched: bool = False) -> "BaseSampler":
    """Optuna's tree-structured Parzen estimator or random sampler, as the grid asks for.

    `tried` proposals of earlier runs give a search that goes on other random numbers than those it has used;
    `batched` keeps a batch's proposals apart, whose values are all unknown while it is made.
    """
    import optuna

    seed = settings.seed + tried
    if settings.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=batched)
    return optuna.samplers.RandomSampler(seed=seed)
