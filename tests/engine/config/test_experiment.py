"""Parts of an experiment that do not fit together are refused, in words, at the field that is at fault."""

from typing import Any

import pytest
from pydantic import ValidationError

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dydit.config import DyDit
from engine.config.experiment import (
    Consistency,
    Data,
    EvaluationProtocol,
    Experiment,
    Selection,
    Start,
    config_conflicts,
)
from engine.config.train import Train
from engine.config.weights import EmaWeights, PowerWeights, RawWeights
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.ocm import OcmObjective
from engine.objectives.regression import RegressionObjective
from engine.objectives.simple import SimpleObjective
from engine.process.processes import DiscreteProcess
from engine.process.training_schedule import LossGapSchedule
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun

TRAIN = Train(batch_size=10, total_kimg=1, snapshot_kimg=1)


def experiment(**changes: Any) -> Experiment:
    parts = {"data": Data(name="digits"), "model": DdpmPlusPlus(channels=8), "objective": EdmObjective()}
    parts |= {"train": TRAIN, "sample": Heun(num_steps=18), "eval": EvaluationProtocol()}
    return Experiment.model_construct(**parts | {"start": None, "weights": EmaWeights()} | changes)


def start(objective: Any, **changes: Any) -> Start:
    return Start(objective=objective, train=TRAIN, **changes)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"objective": OcmObjective()}, "objective.kind", "say which in `start`"),
        ({"weights": RawWeights()}, "weights.kind", "keep_raw"),
        ({"weights": PowerWeights(sigma_rel=0.1)}, "weights.sigma_rel", "ema_power"),
        ({"sample": Heun(num_steps=18, guidance=2.0)}, "sample.guidance", "label_dropout above 0"),
        (
            {"objective": SimpleObjective(), "sample": Ddpm(num_steps=10, covariance="learned_range")},
            "sample.covariance",
            "simple gives it no gradient; train with hybrid or vlb",
        ),
        (
            {"sample": Ddpm(num_steps=10, covariance="ocm")},
            "sample.covariance",
            "the head that objective ocm trains",
        ),
        (
            {"sample": Flow(num_steps=10, beyond_trained_levels=True)},
            "sample.sigma_max",
            "a flow starts at pure noise",
        ),
        ({"sample": Flow(num_steps=10, sigma_max=100.0)}, "sample.sigma_max", "shown, 0.002 to 80;"),
        ({"sample": Heun(num_steps=10, sigma_max=100.0)}, "sample.sigma_max", "shown, 0.002 to 80;"),
        ({"sample": Heun(num_steps=10, sigma_min=0.001)}, "sample.sigma_min", "beyond_trained_levels: true"),
        (
            {"objective": SimpleObjective(), "sample": Heun(num_steps=10, sigma_min=0.002)},
            "sample.sigma_min",
            "sigma_min 0.002 is not among the noise levels that the network was shown, 0.01 to 157;",
        ),
        (
            {
                "objective": SimpleObjective(),
                "eval": EvaluationProtocol(selection=Selection(sampler=Heun(num_steps=18, sigma_max=200.0))),
            },
            "eval.selection.sampler.sigma_max",
            "shown, 0.01 to 157;",
        ),
        (
            {"sample": Ddim(num_steps=1000)},
            "sample.num_steps",
            "levels of 930 of the chain's timesteps, fewer than num_steps 1000",
        ),
        (
            {"objective": SimpleObjective(), "sample": Ddim(num_steps=10, zero_terminal_snr=True)},
            "sample.zero_terminal_snr",
            "starts at zero signal-to-noise ratio",
        ),
        (
            {"eval": EvaluationProtocol(selection=Selection(sampler=Heun(num_steps=18, guidance=2.0)))},
            "eval.selection.sampler.guidance",
            "label_dropout above 0",
        ),
        (
            {
                "eval": EvaluationProtocol(consistency=Consistency()),
                "sample": Ddim(num_steps=10, num_timesteps=50, beyond_trained_levels=True),
            },
            "eval.consistency.num_steps",
            "100 steps of 50 timesteps",
        ),
        (
            {"start": start(EdmObjective(), model=DdpmPlusPlus(channels=16))},
            "start.model",
            "weights of one network do not fit another",
        ),
        (
            {"objective": OcmObjective(), "start": start(OcmObjective())},
            "start.objective.kind",
            "no network of its",
        ),
        (
            {"objective": OcmObjective(), "start": start(SimpleObjective(), model=DdpmPlusPlus(channels=16))},
            "start.model",
            "leave start.model out",
        ),
        (
            {"objective": HybridObjective(), "start": start(SimpleObjective())},
            "objective.kind",
            "hybrid cannot start from simple: one of them learns a variance",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_field_and_the_way_out(
    changes: Any, field: str, words: str
) -> None:
    [(fields, reason)] = config_conflicts(experiment(**changes))
    assert fields[0] == field
    assert words in reason


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": HybridObjective(), "sample": Ddpm(num_steps=10, covariance="learned_range")},
        {"objective": FlowObjective(), "sample": Flow(num_steps=10)},
        {"sample": Flow(num_steps=10, sigma_max=80.0)},
        {
            "objective": RegressionObjective(process=DiscreteProcess(zero_terminal_snr=True)),
            "sample": Ddim(num_steps=10, zero_terminal_snr=True),
        },
        {"sample": Ddim(num_steps=10, zero_terminal_snr=True, tau="released_linear")},
        {"start": start(EdmObjective(), model=DdpmPlusPlus(channels=8, dropout=0.3))},
        {
            "objective": OcmObjective(),
            "start": start(HybridObjective()),
            "sample": Ddpm(num_steps=10, covariance="ocm"),
        },
        {"objective": SimpleObjective(), "start": start(EdmObjective())},
        {
            "model": DdpmPlusPlus(channels=8, class_conditional=True, label_dropout=0.1),
            "sample": Heun(num_steps=18, guidance=2.0),
        },
    ],
)
def test_what_fits_is_accepted(changes: Any) -> None:
    assert config_conflicts(experiment(**changes)) == []


def test_a_whole_experiment_is_refused_for_the_same_reasons() -> None:
    fields = experiment(sample=Ddpm(num_steps=10, covariance="ocm")).model_dump(mode="json")
    with pytest.raises(ValidationError, match="needs the head that objective ocm trains"):
        Experiment.model_validate(fields)


def test_a_parent_shares_the_data_and_has_the_starts_sections() -> None:
    begin = start(SimpleObjective(), model=DdpmPlusPlus(channels=16))
    child = experiment(objective=FlowObjective(), start=begin, weights=RawWeights())
    parent = child.parent
    assert parent is not None
    assert (parent.data, parent.model.channels, parent.start) == (child.data, 16, None)
    assert (parent.objective, parent.weights) == (begin.objective, EmaWeights())
    assert experiment().parent is None


def test_a_head_predicts_as_its_start_does() -> None:
    child = experiment(objective=OcmObjective(), start=start(FlowObjective()))
    assert child.base_objective == FlowObjective()
    assert experiment(start=start(SimpleObjective())).base_objective == EdmObjective()


def test_a_parent_is_a_whole_experiment_though_its_child_is_sampled_with_what_only_the_child_learns() -> None:
    head = {"objective": OcmObjective(), "sample": Ddpm(num_steps=10, covariance="ocm")}
    parent = experiment(**head, start=start(SimpleObjective())).parent
    assert parent is not None
    assert Experiment.model_validate(parent.model_dump(mode="json")) == parent


def test_equal_routes_are_one_configuration_however_they_are_written() -> None:
    model = DyDit.model_validate({"routes": ["tokens", "heads", "tokens"]})
    assert model.routes == ("heads", "tokens")
    assert DyDit.model_validate({"routes": ["tokens", "groups", "heads"]}) == DyDit()


def test_a_schedule_that_reweighs_losses_is_refused_with_a_budget() -> None:
    objective = EdmObjective(training_schedule=LossGapSchedule())
    [(fields, message)] = config_conflicts(experiment(model=DyDit(), objective=objective))
    assert fields[0] == "objective.training_schedule.kind"
    assert "budget" in message
