"""Every registered backbone learns by every objective it can be asked to."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from engine.backbones.registry import BACKBONES, Model
from engine.backbones.unets.base import UNetBase
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment, Start
from engine.config.train import Train
from engine.data.datasets import load_images
from engine.objectives.registry import OBJECTIVES, Objective
from engine.samplers.heun import Heun
from engine.training.batches import make_batch
from engine.training.step import LossModel

UNETS = sorted(kind for kind in BACKBONES if issubclass(BACKBONES[kind], UNetBase))
OTHERS = sorted(set(BACKBONES) - set(UNETS))
HEADS = ("ocm", "npr", "sn")
PAIRS = [(kind, objective) for kind in sorted(BACKBONES) for objective in OBJECTIVES]


def experiment(kind, objective):
    """A tiny training on the digits; OCM's completes one with the simple objective."""
    objective, simple = (
        TypeAdapter(Objective).validate_python({"kind": name}) for name in (objective, "simple")
    )
    size = {"channel_mult": (1, 2), "num_blocks": 1} if kind in UNETS else {"depth": 2}
    model = {"kind": kind, "width_divisor": 32, "class_conditional": True, "label_dropout": 0.1, **size}
    train = Train(batch_size=4, total_kimg=0.004, snapshot_kimg=0.004)
    return Experiment(
        data=Data(name="digits"),
        model=TypeAdapter(Model).validate_python(model),
        objective=objective,
        train=train,
        sample=Heun(num_steps=2),
        eval=EvaluationProtocol(num_samples=16, batch_size=16),
        start=Start(objective=simple, train=train) if objective.kind in HEADS else None,
    )


def trained_looking(point):
    """Its network with weights that are nowhere zero, and routers that choose about one half."""
    torch.manual_seed(0)
    net = build_network(point)
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif "router" in name:
            nn.init.zeros_(parameter)
    return net.train()


@pytest.mark.parametrize(("kind", "objective"), [(k, o) for k, o in PAIRS if k in UNETS or o not in HEADS])
def test_one_loss_is_finite_and_reaches_every_weight(kind, objective):
    point = experiment(kind, objective)
    net = trained_looking(point)
    batch = make_batch(load_images("digits", None), point, torch.arange(4), torch.device("cpu"))
    design = point.objective.design
    sigma = design.noise_levels.sigma(batch.uniform, design.process)
    model = LossModel(point, build_denoiser(point, net))
    loss = model(batch.x0, batch.eps, sigma, batch.label, batch.augment, 0)["loss"]
    assert loss.shape == (4,)
    assert loss.isfinite().all()
    loss.mean().backward()
    trained = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert all(name.startswith("head.") == (objective in HEADS) for name in trained)
    for name, parameter in trained.items():
        assert parameter.grad.isfinite().all(), name
        assert parameter.dim() == 1 or parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("kind", OTHERS)
def test_a_head_is_refused_where_there_are_no_features_for_it(kind):
    for head in HEADS:
        with pytest.raises(
            ValidationError, match=f"{head} reads a U-Net's last features, and {kind} has none"
        ):
            experiment(kind, head)
