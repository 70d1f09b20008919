"""A training small enough for unit tests: seconds on one core."""

import pytest

from engine.data.datasets import ImageSet, load_images
from engine.objective_spec import EdmObjective
from engine.samplers import Heun
from engine.spec import Data, DdpmPlusPlus, Evaluation, Experiment
from engine.train_spec import Train


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    return load_images("digits", None)


@pytest.fixture
def tiny() -> Experiment:
    return Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(channels=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), dropout=0.1),
        objective=EdmObjective(),
        train=Train(
            batch_size=16,
            microbatch_size=8,
            total_kimg=0.192,
            snapshot_kimg=0.064,
            lr=2e-3,
            lr_rampup_kimg=0.05,
            ema_halflife_kimg=0.05,
        ),
        sample=Heun(num_steps=4),
        eval=Evaluation(num_samples=32, batch_size=16),
    )
