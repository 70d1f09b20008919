"""What a network is told for a timestep: the three conventions of released programs."""

from typing import get_args

import pytest
import torch

from engine.backbones.mlp.config import Mlp
from engine.objectives.base import StartFacts
from engine.objectives.registry import OBJECTIVES
from engine.objectives.simple import SimpleObjective
from engine.process.processes import DiscreteProcess, TimeScaleName


def told(num_timesteps: int, time_scale: TimeScaleName, timesteps: list[int]) -> list[float]:
    process = DiscreteProcess(num_timesteps=num_timesteps, time_scale=time_scale)
    sigma = torch.tensor(process.sigmas, dtype=torch.float64)[timesteps]
    return process.c_noise(sigma).tolist()


@pytest.mark.parametrize(
    ("num_timesteps", "time_scale", "expected"),
    [
        (1000, "thousand", [0, 1, 500, 999]),
        (1000, "raw", [0, 1, 500, 999]),
        (1000, "shifted", [1, 2, 501, 1000]),
        (4000, "thousand", [0, 0.25, 125, 249.75]),
        (4000, "raw", [0, 1, 500, 999]),
        (4000, "shifted", [1, 2, 501, 1000]),
    ],
)
def test_timestep_t_is_told_as_named(
    num_timesteps: int, time_scale: TimeScaleName, expected: list[float]
) -> None:
    assert told(num_timesteps, time_scale, [0, 1, 500, 999]) == expected


def test_every_convention_covers_its_whole_range() -> None:
    assert told(4000, "thousand", [3999]) == [999.75]
    assert told(4000, "raw", [3999]) == [3999]
    assert told(4000, "shifted", [3999]) == [4000]


@pytest.mark.parametrize("kind", ["simple", "hybrid", "vlb"])
def test_objectives_that_own_a_chain_tell_as_they_say_and_as_ever_by_default(kind: str) -> None:
    objective = OBJECTIVES[kind]()
    assert objective.design.process.told == "thousand"
    assert "time_scale" not in objective.model_dump(exclude_defaults=True)
    for time_scale in get_args(TimeScaleName):
        one = OBJECTIVES[kind].model_validate({"time_scale": time_scale})
        assert one.design.process.told == time_scale


def test_a_network_goes_on_only_as_it_was_told() -> None:
    def conflicts(before: TimeScaleName, now: TimeScaleName) -> list[str]:
        start = StartFacts(SimpleObjective(time_scale=before), None, Mlp())
        return [message for _, message in SimpleObjective(time_scale=now).start_conflicts(start)]

    assert conflicts("raw", "raw") == []
    (message,) = conflicts("raw", "thousand")
    assert "told timesteps as raw" in message
