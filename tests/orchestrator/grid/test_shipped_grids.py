"""The grids and recipes that are shipped: their counts, and the papers' numbers in them."""

import math

import pytest

from engine.samplers.edm_stochastic import S_CHURN, S_NOISE, S_TMAX, S_TMIN
from orchestrator.grid import Point, Resources, expand, load_sweep
from orchestrator.grid.recipe import PACKAGED, read_recipe

COUNTS = {
    "quickstart": 16,
    "edm_stochastic": 40,
    "edm_table5": 13_068,
    "unet_channels": 16,
    "dropout_schedule": 12,
    "objectives": 150,
    "learned_variance": 32,
    "ocm_variance": 12,
    "ema_lengths": 10,
    "attention_placement": 6,
    "capacity": 3,
    "edm_networks": 2,
    "dydit_flops": 7,
    "few_step": 24,
    "edm_baselines": 36,
    "few_step_solvers": 65,
    "scaling_law": 5,
    "loss_gap": 4,
}

# All 13,068 points take seconds.
CASES = [pytest.param(name, marks=pytest.mark.slow if name == "edm_table5" else ()) for name in COUNTS]
RECIPES = [
    "dit_cifar10", "dit_digits", "dydit_cifar10", "dydit_digits",
    "edm_cifar10", "edm_digits", "iddpm_cifar10", "iddpm_digits", "ocm_digits",
]  # fmt: skip
EDM_LEVELS = (0.002, 80.0)
"""What the anchor's network is shown [P3]; a chain that goes further is held to it."""


def axes_of(points: tuple[Point, ...]) -> list[tuple[object, ...]]:
    return [tuple(point.axes.values()) for point in points]


def test_every_shipped_grid_and_recipe_is_known_here() -> None:
    assert {path.stem for path in PACKAGED.glob("*.yaml")} == set(COUNTS)
    assert sorted(path.stem for path in (PACKAGED / "recipes").glob("*.yaml")) == RECIPES
    assert sorted(path.stem for path in (PACKAGED / "smoke").glob("*.yaml")) == RECIPES


@pytest.mark.parametrize("smoke", [False, True], ids=["plain", "smoke"])
@pytest.mark.parametrize("name", CASES)
def test_shipped_grid_expands_to_its_count(name: str, smoke: bool) -> None:
    sweep = load_sweep(PACKAGED / f"{name}.yaml", smoke=smoke)
    assert len(expand(sweep)) == COUNTS[name]
    assert (sweep.grid.name, sweep.smoke) == (name, smoke)
    assert sweep.source == (PACKAGED / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", CASES)
def test_smoke_keeps_the_axes_and_shrinks_the_rest(name: str) -> None:
    plain, smoke = (expand(load_sweep(PACKAGED / f"{name}.yaml", smoke=smoke)) for smoke in (False, True))
    assert axes_of(plain) == axes_of(smoke)
    assert {point.experiment.data.name for point in smoke} == {"digits"}
    assert max(point.experiment.train.total_kimg for point in smoke) <= 100
    assert load_sweep(PACKAGED / f"{name}.yaml", smoke=True).grid.resources == Resources()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_valid_experiment(name: str) -> None:
    recipe = read_recipe(PACKAGED / "recipes" / f"{name}.yaml")
    assert type(recipe).model_validate(recipe.model_dump()) == recipe


def test_edm_recipe_follows_the_papers_table() -> None:
    """[P3 Table 7; playbook A.4]"""
    train = read_recipe(PACKAGED / "recipes" / "edm_cifar10.yaml").train
    assert (train.batch_size, train.total_kimg, train.lr) == (512, 200_000, 1e-3)
    assert (train.lr_rampup_kimg, train.ema_halflife_kimg, train.grad_clip) == (10_000, 500, None)


def test_iddpm_recipe_has_the_papers_ema_and_length() -> None:
    """EMA 0.9999 a step and 500,000 steps [playbook 4.2 A];
    the half-life is rounded to a whole kimg, below 1e-3."""
    train = read_recipe(PACKAGED / "recipes" / "iddpm_cifar10.yaml").train
    halflife_kimg = train.batch_size / 1000 * math.log(0.5) / math.log(0.9999)
    assert train.ema_halflife_kimg == pytest.approx(halflife_kimg, rel=1e-3)
    assert train.total_kimg * 1000 / train.batch_size == 500_000


def test_table_5_grid_varies_one_parameter_at_a_time() -> None:
    points = expand(load_sweep(PACKAGED / "edm_stochastic.yaml"))
    anchor = points[0].axes
    assert list(anchor.values()) == [30, 0.01, 1, 1.007]
    assert all(sum(point.axes[field] != anchor[field] for field in anchor) == 1 for point in points[1:])
    values = [{point.axes[field] for point in points} for field in anchor]
    assert values == [set(S_CHURN), set(S_TMIN), set(S_TMAX), set(S_NOISE)]
    assert {point.experiment.sample.nfe for point in points} == {511}


def test_linked_learning_rates_of_the_four_unet_levels() -> None:
    """lr = 1e-4 / sqrt(C / 128), golden values to the three digits the playbook gives [playbook A.6]."""
    points = expand(load_sweep(PACKAGED / "unet_channels.yaml"))
    rates = {point.axes["model.channels"]: point.linked["train.lr"] for point in points}
    assert {channels: f"{rate:.3g}" for channels, rate in rates.items()} == {
        64: "0.000141",
        96: "0.000115",
        128: "0.0001",
        192: "8.16e-05",
    }
    assert all(point.experiment.train.lr == point.linked["train.lr"] for point in points)


def test_quickstart_says_which_values_are_off_playbook() -> None:
    points = expand(load_sweep(PACKAGED / "quickstart.yaml"))
    assert points[0].off_playbook == ("model.channels = 12",)
    assert points[-1].off_playbook == ("model.channels = 24", "sample.s_churn = 5")
