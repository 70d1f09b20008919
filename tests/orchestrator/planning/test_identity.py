"""Equal work has equal names on every machine, and different work never does."""

import json
from typing import Any

import pytest
from fixed_experiment import BASE

from engine.config.experiment import Experiment, Selection, Start
from engine.config.train import Train
from engine.config.weights import EmaWeights
from engine.objectives.simple import SimpleObjective
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun
from orchestrator.planning import identity
from orchestrator.planning.identity import (
    canonical_json,
    cell_id,
    non_default_fields,
    protocol_id,
    selection_id,
    train_id,
)


def changed(field: str, value: Any) -> Experiment:
    """BASE with one dotted field changed."""
    fields = BASE.model_dump(mode="json")
    *sections, name = field.split(".")
    place = fields
    for section in sections:
        place = place[section]
    place[name] = value
    return Experiment.model_validate(fields)


def sampled(sampler: Any) -> Experiment:
    return BASE.model_copy(update={"sample": sampler})


def cell_of(experiment: Experiment) -> str:
    return cell_id(experiment, selection_id(experiment, train_id(experiment)))


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return value


def test_identities_of_a_fixed_experiment_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden values: finished work is found under them, so a change loses everybody's results.

    If this fails because canonical JSON, a field or a default changed by accident, undo that. If it was
    meant, raise ENGINE_VERSION, so that old results are not taken for new ones, and put the new values here.
    """
    monkeypatch.setattr(identity, "ENGINE_VERSION", "golden")
    training = train_id(BASE)
    selection = selection_id(BASE, training)
    assert (training, selection, cell_id(BASE, selection), protocol_id(BASE)) == (
        "f1da95606ccb2b73",
        "93509afd54c9b501",
        "a83f56a90f02fd23",
        "21b67fa800abc283",
    )


def test_canonical_json_of_a_fixed_value_never_changes() -> None:
    assert (
        canonical_json({"b": (1, 2.5, None), "a": {"é": True}}) == '{"a":{"\\u00e9":true},"b":[1,2.5,null]}'
    )


def test_not_a_number_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"lr": float("nan")})


def test_order_of_keys_makes_no_difference() -> None:
    fields = BASE.model_dump(mode="json")
    other = Experiment.model_validate(reversed_keys(fields))
    assert list(reversed_keys(fields)) != list(fields)
    assert (train_id(other), cell_of(other), protocol_id(other)) == (
        train_id(BASE),
        cell_of(BASE),
        protocol_id(BASE),
    )


def test_yaml_layout_and_number_style_change_no_identity(fake: Any) -> None:
    spread = "axes:\n    model.channels:   # widths\n    - 8\n    - 0x10\n"
    respelled = fake.changed("axes: {model.channels: [8, 16]}\n", spread)
    other = respelled.changed("s_churn: [0, 5, 6]", "s_churn: [0.0, 5e0, 6.]")
    assert other.sweep.source != fake.sweep.source
    assert [cell.cell_id for cell in other.plan().cells] == [cell.cell_id for cell in fake.plan().cells]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train.lr", 0.003),
        ("train.seed", 1),
        ("train.microbatch_size", 50),
        ("model.dropout", 0.1),
        ("model.attention_resolutions", (8,)),
        ("train.compile", "default"),
        ("data.x_flip", True),
        ("objective.p_mean", -1.0),
        ("objective.training_schedule.kind", "loss_gap"),
    ],
)
def test_whatever_changes_the_weights_changes_the_training(field: str, value: Any) -> None:
    assert train_id(changed(field, value)) != train_id(BASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("train.checkpointing", True), ("model.attention_resolutions", (16, 4)), ("model.num_blocks", (1, 1))],
)
def test_whatever_changes_no_weight_changes_no_training(field: str, value: Any) -> None:
    assert train_id(changed(field, value)) == train_id(BASE)


def test_a_field_written_out_with_its_default_changes_no_identity() -> None:
    spelled = Experiment.model_validate(BASE.model_dump(mode="json"))
    assert "grad_clip" in spelled.train.model_fields_set
    assert "grad_clip" not in BASE.train.model_fields_set
    assert (train_id(spelled), cell_of(spelled)) == (train_id(BASE), cell_of(BASE))
    assert protocol_id(spelled) == protocol_id(BASE)
    assert non_default_fields(BASE.train) == {
        "batch_size": 100,
        "total_kimg": 4,
        "snapshot_kimg": 2,
        "lr": 0.002,
    }
    assert non_default_fields(BASE.objective) == {"kind": "edm"}


def test_the_choice_of_weights_is_another_cell_of_the_same_training() -> None:
    tracked = changed("train.ema_extra_halflives_kimg", [8.0])
    longer = tracked.model_copy(update={"weights": EmaWeights(halflife_kimg=8.0)})
    primary = tracked.model_copy(
        update={"weights": EmaWeights(halflife_kimg=tracked.train.ema_halflife_kimg)}
    )
    assert train_id(longer) == train_id(tracked)
    assert cell_of(longer) != cell_of(tracked)
    assert cell_of(primary) == cell_of(tracked)


def test_a_training_that_starts_from_another_has_an_identity_of_its_own() -> None:
    start = Start(objective=SimpleObjective(), train=BASE.train)
    continued = BASE.model_copy(update={"start": start})
    other = BASE.model_copy(
        update={"start": start.model_copy(update={"train": Train(total_kimg=8, snapshot_kimg=2)})}
    )
    assert len({train_id(BASE), train_id(continued), train_id(other)}) == 3
    assert train_id(continued.parent) == train_id(BASE.model_copy(update={"objective": SimpleObjective()}))


def test_another_engine_version_is_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    before = train_id(BASE)
    monkeypatch.setattr(identity, "ENGINE_VERSION", "another")
    assert train_id(BASE) != before


@pytest.mark.parametrize(
    ("field", "value"),
    [("sample.num_steps", 9), ("sample.rho", 5.0), ("eval.num_samples", 200), ("eval.sample_seed", 1)],
)
def test_sampling_and_measuring_change_the_cell_and_not_the_training(field: str, value: Any) -> None:
    assert train_id(changed(field, value)) == train_id(BASE)
    assert cell_of(changed(field, value)) != cell_of(BASE)


@pytest.mark.parametrize(("field", "value"), [("num_samples", 65), ("sampler.num_steps", 9)])
def test_another_rule_of_choosing_the_snapshot_is_another_cell_of_the_same_training(
    field: str, value: int
) -> None:
    other = changed(f"eval.selection.{field}", value)
    assert train_id(other) == train_id(BASE)
    assert selection_id(other, train_id(other)) != selection_id(BASE, train_id(BASE))
    assert cell_id(other, "the same selection") != cell_id(BASE, "the same selection")


def test_the_same_protocol_on_another_snapshot_is_another_cell() -> None:
    assert cell_id(BASE, "one") != cell_id(BASE, "another")
    assert selection_id(BASE, "one") != selection_id(BASE, "another")


def test_the_number_of_measured_images_does_not_choose_the_snapshot() -> None:
    assert selection_id(changed("eval.num_samples", 200), "t") == selection_id(BASE, "t")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EdmStochastic(num_steps=18, s_churn=0, s_noise=1.01), Heun(num_steps=18)),
        (
            EdmStochastic(num_steps=18, s_churn=8),
            EdmStochastic(num_steps=18, s_churn=80),
        ),  # 8 > 7.46: saturated
        (
            EdmStochastic(num_steps=18, s_churn=5, s_tmax=81),
            EdmStochastic(num_steps=18, s_churn=5, s_tmax=1000),
        ),
        (EdmStochastic(num_steps=18, s_churn=5, s_tmin=90, s_tmax=95), Heun(num_steps=18)),
        (Heun(num_steps=1), Euler(num_steps=1)),
    ],
    ids=["no churn", "saturated gamma", "interval beyond the grid", "empty interval", "one step"],
)
def test_samplers_that_do_the_same_are_one_cell(one: Any, other: Any) -> None:
    assert one != other
    assert cell_of(sampled(one)) == cell_of(sampled(other))


@pytest.mark.parametrize(
    "sampler",
    [
        EdmStochastic(num_steps=18, s_churn=7),
        EdmStochastic(num_steps=18, s_churn=7, s_noise=1.01),
        EdmStochastic(num_steps=18, s_churn=7, s_tmax=1),
        EdmStochastic(num_steps=18, s_churn=8),
        Euler(num_steps=18),
        Ddim(num_steps=18),
        Heun(num_steps=18, sigma_max=70),
    ],
    ids=lambda sampler: sampler.label,
)
def test_samplers_that_differ_are_cells_of_their_own(sampler: Any) -> None:
    assert cell_of(sampled(sampler)) != cell_of(BASE)


def test_sampling_seed_changes_the_cell_and_not_the_protocol() -> None:
    other = changed("eval.sample_seed", 5)
    assert cell_id(other, "the same selection") != cell_id(BASE, "the same selection")
    assert protocol_id(other) == protocol_id(BASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_samples", 200),
        ("batch_size", 32),
        ("nearest_k", 5),
        ("selection.num_samples", 65),
        ("extractor", "inception"),
    ],
)
def test_everything_else_of_the_evaluation_is_the_protocol(field: str, value: Any) -> None:
    assert protocol_id(changed(f"eval.{field}", value)) != protocol_id(BASE)


def test_data_sets_never_share_a_protocol() -> None:
    assert protocol_id(changed("data.name", "cifar10")) != protocol_id(BASE)


def test_identities_survive_the_way_through_json() -> None:
    """A worker gets its experiment as JSON text and must find the folder the driver names."""
    received = Experiment.model_validate(json.loads(json.dumps(BASE.model_dump(mode="json"))))
    assert (train_id(received), cell_of(received)) == (train_id(BASE), cell_of(BASE))


def test_the_default_selection_rule_is_spelled_out_in_the_identity() -> None:
    spelled = BASE.eval.model_copy(
        update={"selection": Selection(sampler=Heun(num_steps=18), num_samples=10_000)}
    )
    assert cell_of(BASE.model_copy(update={"eval": spelled})) == cell_of(BASE)
