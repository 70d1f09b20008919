"""Metrics are one list: what a cell gets, what is known of every number, and what a protocol may ask for."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Consistency, Data, EvaluationProtocol, Experiment, Likelihood, LossGap
from engine.config.train import Train
from engine.metrics.registry import METRICS, measured_metrics, metric_facts
from engine.objectives.simple import SimpleObjective
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun

ALWAYS = ("fd_classifier", "precision", "recall", "density", "coverage", "seconds_per_image")


def experiment(sampler, **protocol) -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(),
        objective=SimpleObjective(),
        train=Train(batch_size=100, total_kimg=1, snapshot_kimg=1),
        sample=sampler,
        eval=EvaluationProtocol(**protocol),
    )


@pytest.mark.parametrize(
    ("sampler", "protocol", "more"),
    [
        (Heun(num_steps=3), {}, ()),
        (Heun(num_steps=3), {"consistency": Consistency()}, ("agreement",)),
        (EdmStochastic(num_steps=9, s_churn=2.0), {"consistency": Consistency()}, ()),
        (Heun(num_steps=3), {"likelihood": Likelihood()}, ("nll_train", "nll_solver_error")),
        (Ddpm(num_steps=4), {"likelihood": Likelihood()}, ("nelbo_train",)),
        (EdmStochastic(num_steps=9, s_churn=2.0), {"likelihood": Likelihood()}, ()),
        (Heun(num_steps=3), {"loss_gap": LossGap()}, ("optimal_loss_gap", "model_loss", "optimal_loss")),
    ],
)
def test_a_cell_gets_what_its_protocol_asks_for_and_its_sampler_has(sampler, protocol, more):
    assert measured_metrics(experiment(sampler, **protocol)) == (*ALWAYS, *more)


def test_no_two_kinds_yield_a_number_of_one_name():
    names = [fact.name for kind in METRICS.values() for fact in kind.facts]
    assert len(names) == len(set(names))


def test_every_number_of_a_cell_is_explained():
    asked = experiment(
        Heun(num_steps=3), consistency=Consistency(), likelihood=Likelihood(), loss_gap=LossGap()
    )
    for name, facts in metric_facts(measured_metrics(asked)).items():
        assert facts.name == name
        assert facts.label
        assert facts.group


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("fid", "lower"),
        ("fd_other_inception", "lower"),
        ("recall", "higher"),
        ("agreement", "higher"),
        ("nll_test", "lower"),
        ("optimal_loss", "neither"),
        ("nobody_knows", "neither"),
    ],
)
def test_which_end_is_better_is_never_guessed(name, better):
    assert metric_facts([name])[name].better == better


def test_a_protocol_may_not_ask_by_name_for_what_is_measured_anyway():
    with pytest.raises(ValidationError, match="overlap is not asked for here"):
        EvaluationProtocol(metrics=("overlap",))


def test_a_protocol_may_not_ask_for_what_there_is_not():
    with pytest.raises(ValidationError, match='"acuracy" is not a metric to ask for'):
        EvaluationProtocol(metrics=("acuracy",))


def test_the_list_of_metrics_needs_no_torch():
    code = "import sys, engine.metrics.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["fd_classifier", "fid"])
def test_a_distance_is_called_exactly_what_its_column_is_called(name):
    assert metric_facts([name])[name].header == f"{name} ↓"
