"""What processes, distributions of noise levels and training schedules say of themselves."""

import pytest
import torch

from engine.process.noise_levels import NOISE_LEVELS, LossSecondMoment
from engine.process.processes import PROCESSES, DiscreteProcess
from engine.process.training_schedule import TRAINING_SCHEDULES, FixedSchedule, LossGapSchedule


def test_only_the_chain_has_timesteps() -> None:
    found = {name: (kind().discrete, len(kind().sigmas)) for name, kind in PROCESSES.items()}
    chain = found.pop("discrete")
    assert chain == (True, 1000)
    assert set(found.values()) == {(False, 0)}
    sigma = torch.tensor([DiscreteProcess().sigmas[7]], dtype=torch.float64)
    assert DiscreteProcess().timestep(sigma).tolist() == [7]
    with pytest.raises(ValueError, match="process edm has no timesteps"):
        PROCESSES["edm"]().timestep(sigma)


def test_only_the_loss_second_moment_samples_by_importance() -> None:
    asking = [name for name, kind in NOISE_LEVELS.items() if kind().importance is not None]
    assert asking == ["loss_second_moment"]
    found = LossSecondMoment(history=5, uniform_share=0.2).importance
    assert (found.history, found.uniform_share) == (5, 0.2)


def test_only_the_loss_gap_steers_training() -> None:
    assert list(TRAINING_SCHEDULES) == ["fixed", "loss_gap"]
    assert FixedSchedule().loss_gap is None
    assert LossGapSchedule(a=0.4).loss_gap == LossGapSchedule(a=0.4)
