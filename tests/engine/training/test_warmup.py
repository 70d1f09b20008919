"""A bound is trained after a warm-up with L_simple [playbook 3.3]:
one loss before, the other after, to the bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.config.choices import choice_lines, choices_of
from engine.config.experiment import Experiment
from engine.config.train import Train
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.files import LocalFiles
from engine.objectives.base import ObjectiveBase
from engine.objectives.hybrid import HybridObjective
from engine.objectives.losses.batch import Noised
from engine.objectives.losses.bound import bound_terms
from engine.objectives.registry import Objective
from engine.objectives.simple import SimpleObjective
from engine.objectives.vlb import VlbObjective
from engine.process.precond import Preconditioning
from engine.training.levels import LevelDrawer
from engine.training.loop import train
from engine.training.snapshot import snapshot_path

pytestmark = pytest.mark.slow

WARMUP = {"warmup_kimg": 0.032, "schedule": "linear", "num_timesteps": 100}


class Net(nn.Module):
    """Answers eps and a variance that differ from pixel to pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.7, 0.4]))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        return torch.cat([self.weight[0] * x, self.weight[1] * x.sin()], dim=1)


def batch_of(objective: ObjectiveBase) -> Noised:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(0, 256, (6, 2, 4, 4), generator=generator) / 127.5 - 1
    eps = torch.randn(6, 2, 4, 4, generator=generator)
    timesteps = torch.tensor([0, 1, 5, 40, 80, 99])
    return Noised(x0, eps, torch.tensor(objective.design.process.sigmas, dtype=torch.float64)[timesteps])


@pytest.mark.parametrize("kind", [VlbObjective, HybridObjective])
def test_the_loss_is_l_simple_before_and_the_kinds_own_after_bit_for_bit(
    kind: type[VlbObjective | HybridObjective],
) -> None:
    objective = kind.model_validate(WARMUP)
    chain = objective.design.process
    batch, denoiser = batch_of(objective), Denoiser(Net(), Preconditioning(chain, "eps"))
    before, last, first = (objective.losses_at(shown, denoiser, batch) for shown in (0, 31, 32))
    # L_simple, written down: the mean squared error of eps [P1 Eq. 14].
    output = denoiser.output(batch.x, batch.sigma, None)
    squared = (output.target - batch.eps).square().flatten(1).mean(1)
    torch.testing.assert_close(before["loss"], squared, rtol=1e-6, atol=0)
    own = objective.losses(denoiser, batch)
    for name in ("loss", "simple"):
        assert torch.equal(before[name], own["simple"])
        assert torch.equal(last[name], own["simple"])
    assert list(before) == list(first) == list(own)
    for name, values in own.items():
        assert torch.equal(first[name], values)
    assert torch.equal(before["vlb"], own["vlb"])
    assert not torch.equal(own["loss"], own["simple"])
    if kind is VlbObjective:
        # L_vlb after it is T L_t.
        error = denoiser(batch.x, batch.sigma) - batch.x0
        assert output.variance is not None
        terms = bound_terms(chain, chain.timestep(batch.sigma), batch.x0, error, output.variance)  # type: ignore[arg-type]
        torch.testing.assert_close(first["loss"].double(), 100 * terms.double(), rtol=1e-3, atol=1e-3)


def test_in_the_warm_up_the_variance_learns_nothing() -> None:
    objective = VlbObjective.model_validate(WARMUP)
    net = Net()
    denoiser = Denoiser(net, Preconditioning(objective.design.process, "eps"))
    for shown, learns in ((31, False), (32, True)):
        net.zero_grad()
        objective.losses_at(shown, denoiser, batch_of(objective))["loss"].sum().backward()
        assert net.weight.grad is not None
        assert net.weight.grad[0] != 0
        assert (net.weight.grad[1] != 0) == learns


def test_draws_of_the_warm_up_are_uniform_and_leave_no_history() -> None:
    objective = VlbObjective.model_validate(WARMUP)
    drawer = LevelDrawer(objective.design, batch_size=4)
    uniform = torch.tensor([0.005, 0.5, 0.75, 0.999], dtype=torch.float64)
    warm = drawer.draw(uniform, torch.arange(4), by_history=False)
    assert warm.bin is None
    assert warm.weight.tolist() == [1.0] * 4
    assert objective.design.process.timestep(warm.sigma).tolist() == [0, 50, 75, 99]
    assert drawer.draw(uniform, torch.arange(4)).bin is not None


def trained(experiment: Experiment, objective: Objective, digits: ImageSet, root: Path) -> list[bytes]:
    """Snapshots of four steps of 8 images, the first after two steps."""
    chosen = experiment.model_copy(update={"objective": objective})
    settings = {"batch_size": 8, "microbatch_size": None, "total_kimg": 0.032, "snapshot_kimg": 0.016}
    update = Train.model_validate(experiment.train.model_dump() | settings)
    chosen = chosen.model_copy(update={"train": update})
    train(chosen, digits, LocalFiles(root), lambda tick: None, torch.device("cpu"))
    return [(root / snapshot_path(images)).read_bytes() for images in update.snapshot_images]


def test_training_changes_its_loss_at_the_end_of_the_warm_up(
    tiny: Experiment, digits: ImageSet, tmp_path: Path
) -> None:
    half, never = (
        trained(tiny, VlbObjective(warmup_kimg=kimg), digits, tmp_path / f"{kimg}") for kimg in (0.016, None)
    )
    hybrid = trained(tiny, HybridObjective(warmup_kimg=0.016), digits, tmp_path / "hybrid")
    # Both are L_simple for two steps: the same weights; then each is its own.
    assert half[0] == hybrid[0]
    assert half[1] != hybrid[1]
    assert half[0] != never[0]


def test_a_warm_up_that_a_training_does_not_outlast_is_refused(tiny: Experiment) -> None:
    for kimg, fits in ((0.1, True), (0.192, False)):
        changed = tiny.model_dump() | {"objective": {"kind": "vlb", "warmup_kimg": kimg}}
        if fits:
            Experiment.model_validate(changed)
            continue
        with pytest.raises(ValueError, match="leaves nothing of 0"):
            Experiment.model_validate(changed)


def test_a_warm_up_is_told_and_no_other_objective_has_one() -> None:
    assert VlbObjective(warmup_kimg=2).beside == " after 2 kimg of L_simple alone"
    assert VlbObjective().beside == ""
    assert HybridObjective(warmup_kimg=2).beside.endswith("for the variance) after 2 kimg of L_simple alone")
    assert SimpleObjective().warmup_images == 0


def test_plan_and_report_tell_the_warm_up(tiny: Experiment) -> None:
    warm = tiny.model_copy(update={"objective": VlbObjective(warmup_kimg=0.1)})
    assert "warmup_kimg 0.1" in choice_lines(choices_of([warm]))["objective"]
