"""What rows say of samplers and axes, also where an earlier version wrote the table."""

import json
from typing import Any

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from engine.samplers.registry import Sampler
from orchestrator.results.rows import sampler_columns, trained_axes, with_columns_of_kinds

SAMPLERS = [
    ({"kind": "heun", "num_steps": 3}, "Heun", True),
    ({"kind": "euler", "num_steps": 3}, "Euler", True),
    ({"kind": "ddim", "num_steps": 10}, "DDIM", True),
    ({"kind": "ddim", "num_steps": 10, "eta": 1.0}, "DDIM stochastic", False),
    ({"kind": "ddim", "num_steps": 1, "eta": 1.0}, "DDIM", True),  # one step ends at x0: no noise is added
    ({"kind": "ddpm", "num_steps": 10}, "DDPM", False),
    ({"kind": "edm_stochastic", "num_steps": 3, "s_churn": 0.0}, "Heun", True),
    ({"kind": "edm_stochastic", "num_steps": 3, "s_churn": 5.0}, "EDM stochastic", False),
    # The interval covers no noise level, so no step adds noise.
    (
        {"kind": "edm_stochastic", "num_steps": 3, "s_churn": 5.0, "s_tmin": 81.0, "s_tmax": 90.0},
        "Heun",
        True,
    ),
]


@pytest.mark.parametrize(("sampler", "solver", "deterministic"), SAMPLERS)
def test_a_row_says_whether_noise_is_really_drawn(
    sampler: dict[str, Any], solver: str, deterministic: bool
) -> None:
    columns = sampler_columns(TypeAdapter(Sampler).validate_python(sampler))
    assert (columns["solver"], columns["deterministic"]) == (solver, deterministic)


def test_trained_axes_exclude_samplers_protocols_and_averages() -> None:
    axes = ["model.channels", "weights.halflife_kimg", "sample.num_steps", "train.seed", "eval.sample_seed"]
    assert trained_axes(axes) == ["model.channels", "train.seed"]
    assert trained_axes(["start.objective.kind", "data.augment", "objective.kind"]) == [
        "start.objective.kind",
        "data.augment",
        "objective.kind",
    ]


def test_a_table_of_0_4_0_gets_the_columns_that_the_kinds_know() -> None:
    older = pa.table(
        {
            "sampler": [json.dumps(sampler) for sampler, _, _ in SAMPLERS],
            "axes": ['{"model.channels": 8, "sample.num_steps": 3}'] * len(SAMPLERS),
        }
    )
    table = with_columns_of_kinds(older)
    assert table.column("solver").to_pylist() == [solver for _, solver, _ in SAMPLERS]
    assert table.column("deterministic").to_pylist() == [known for _, _, known in SAMPLERS]
    assert set(table.column("trained_axes").to_pylist()) == {'["model.channels"]'}
    assert with_columns_of_kinds(table) is table
