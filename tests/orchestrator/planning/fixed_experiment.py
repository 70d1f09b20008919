"""One experiment, fixed, whose identities tests compare with those of its neighbours."""

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.objectives.edm import EdmObjective
from engine.samplers.heun import Heun

BASE = Experiment(
    data=Data(name="digits"),
    model=DdpmPlusPlus(
        channels=8, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,), dropout=0.05
    ),
    objective=EdmObjective(),
    train=Train(batch_size=100, total_kimg=4, snapshot_kimg=2, lr=0.002),
    sample=Heun(num_steps=18),
    eval=EvaluationProtocol(num_samples=100),
)
