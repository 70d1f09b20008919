"""Waves of cells: images that wait on disk keep to a limit, and it costs what the plan says."""

import random
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("ray")

from engine.config.experiment import Experiment
from engine.denoiser import Denoiser
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.records import paths
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun
from engine.sampling.generation import generate_cell, read_generated
from orchestrator.console.sharing_view import sharing_lines
from orchestrator.errors import UsageError
from orchestrator.execution import sample_worker
from orchestrator.execution.spool_order import spool_batch_units, spool_batches_left
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import prefix_groups
from orchestrator.planning.spool_batches import GIB, spool_batches, spool_limit, spooled_groups
from orchestrator.planning.unit import Unit

CELL_BYTES = 100 * 8 * 8
"""Of the tiny sweep: 100 digits of 8x8 grey pixels."""
SEEDS = range(12)


def cells_of(fake: Any, samplers: list[SamplerBase]) -> list[Cell]:
    """A cell for each distinct sampler on each of the two trainings."""
    first, *_, last = fake.plan().cells
    distinct = {str(sampler.canonical().form): sampler for sampler in samplers}
    return [
        replace(cell, cell_id=f"{cell.cell_id[:8]}-{number}", experiment=with_sampler(cell, sampler))
        for cell in (first, last)
        for number, sampler in enumerate(distinct.values())
    ]


def with_sampler(cell: Cell, sampler: SamplerBase) -> Experiment:
    return cell.experiment.model_copy(update={"sample": sampler})


def random_samplers(seed: int) -> list[SamplerBase]:
    """Up to 40 samplers, most of which begin like some other, in any order."""
    draw = random.Random(seed)
    churned = [
        EdmStochastic(
            num_steps=6,
            s_churn=draw.choice([1, 2]),
            s_tmin=draw.choice([0, 0.1]),
            s_tmax=draw.choice([0.5, 5, 80]),
        )
        for _ in range(30)
    ]
    others = [Heun(num_steps=6), Ddim(num_steps=5, eta=0.5), Ddim(num_steps=5, eta=0.5, clip="x0")]
    guided = [Heun(num_steps=6, guidance=2.0), EdmStochastic(num_steps=6, s_churn=1, s_tmax=1, guidance=2.0)]
    return draw.sample(found := [*churned, *others, *guided], len(found))


@pytest.mark.parametrize("seed", SEEDS)
def test_spool_batches_hold_every_cell_once_and_no_more_images_than_the_limit(fake: Any, seed: int) -> None:
    cells = cells_of(fake, random_samplers(seed))
    limit = random.Random(seed).randrange(len(cells) * CELL_BYTES)
    found = spool_batches(cells, limit)
    named = [cell.cell_id for batch in found for group in batch for cell in group.cells]
    assert sorted(named) == sorted(cell.cell_id for cell in cells)
    for batch in found:
        waiting = sum(len(group.cells) * CELL_BYTES for group in batch if group.shares)
        assert waiting == sum(group.spooled_bytes for group in batch) <= limit
    assert all(
        len(group.cells) > 1 for batch in found for group in batch if group.shares
    )  # one cell alone never waits


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_costs_at_most_one_cells_evaluations(fake: Any, seed: int) -> None:
    for group in prefix_groups(cells_of(fake, random_samplers(seed))):
        longest = max(cell.experiment.sample.nfe for cell in group.cells)
        for size in (1, 2, 5, len(group.cells) - 1):
            parts = group.cut(size)
            assert len(parts) == -(-len(group.cells) // size)
            assert max(len(part.cells) for part in parts) <= size
            again = sum(part.together for part in parts) - group.together
            assert 0 <= again <= (len(parts) - 1) * longest


def test_under_the_limit_there_is_one_spool_batch_of_whole_groups(fake: Any) -> None:
    cells = cells_of(fake, random_samplers(0))
    assert spool_batches(cells, len(cells) * CELL_BYTES) == [tuple(prefix_groups(cells))]
    assert len(spool_batches(cells, len(cells) * CELL_BYTES - 1)) == 2
    assert spool_batches([], 0) == []


def test_with_no_room_every_cell_is_sampled_alone(fake: Any) -> None:
    cells = cells_of(fake, random_samplers(0))
    (batch,) = spool_batches(cells, 0)
    assert not any(group.shares for group in batch)
    assert sum(group.per_image for group in batch) == sum(cell.experiment.sample.nfe for cell in cells)


def test_cutting_a_group_counts_reference_images_once(fake: Any) -> None:
    checked = fake.changed(
        "panel:", "set: {eval.consistency.num_steps: 20, eval.consistency.num_samples: 65}\npanel:"
    )
    samplers = [Heun(num_steps=number) for number in (4, 5, 6)] + [Heun(num_steps=4, rho=5.0)]
    (group, _) = prefix_groups(cells_of(checked, samplers))
    images = group.num_batches * 64
    apart = sum(part.evaluations - images * part.per_image for part in group.cut(1))
    assert apart == group.evaluations - images * group.per_image == 2 * 64 * 39 * 2  # Heun 20 with either rho


# The limit.


def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCH_WAITING_GIB", raising=False)
    assert spool_limit() == 8 * GIB
    for text, size in {"0.5": GIB // 2, "0": 0, "": 8 * GIB}.items():
        monkeypatch.setenv("ORCH_WAITING_GIB", text)
        assert spool_limit() == size


@pytest.mark.parametrize("text", ["-1", "much", "nan", "inf"])
def test_a_limit_that_is_no_size_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ORCH_WAITING_GIB", text)
    with pytest.raises(
        UsageError, match=f"ORCH_WAITING_GIB={text}: give a number of GiB, such as 8, or 0 for none"
    ):
        spool_limit()


def test_a_plan_says_when_the_limit_cuts_and_what_that_costs(
    fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(fake, random_samplers(0))
    monkeypatch.delenv("ORCH_WAITING_GIB", raising=False)
    (saved,) = sharing_lines(cells, spool_batches(cells))
    whole, alone = (
        sum(group.together for group in prefix_groups(cells)),
        sum(cell.experiment.sample.nfe for cell in cells),
    )
    assert saved.startswith(f"shared: {len(cells)} cells are drawn in common passes, {whole} network")
    monkeypatch.setenv("ORCH_WAITING_GIB", f"{5 * CELL_BYTES / GIB}")
    _, limit = sharing_lines(cells, spool_batches(cells))
    cut = sum(group.per_image for group in spooled_groups(cells))
    assert limit.startswith(f"limit: drawn in {len(spool_batches(cells))} waves of at most ")
    assert limit.endswith(
        f"GiB of waiting images (ORCH_WAITING_GIB): {cut} instead of {whole} evaluations an image"
    )
    monkeypatch.setenv("ORCH_WAITING_GIB", "0")
    (none,) = sharing_lines(cells, spool_batches(cells))
    assert none.endswith(
        "1 wave of at most 0 GiB of waiting images (ORCH_WAITING_GIB): "
        f"{alone} instead of {whole} evaluations an image"
    )


# A sweep.


class Convolution(torch.nn.Module):
    """A small network in single precision, whose rounding would show any change of the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, label: None, augment: None) -> torch.Tensor:
        output: torch.Tensor = self.last(
            torch.nn.functional.silu(self.first(x) + c_noise[:, None, None, None])
        )
        return output


class FakeJob:
    """What units are made for: two workers, and a view that nobody looks at."""

    def __init__(self) -> None:
        self.progress = self

    def slots(self) -> int:
        return 2

    def expect_shared_runs(self, cells: list[str], shared_runs: list[str]) -> None:
        """Nothing is shown."""


def bytes_waiting(path: Path) -> int:
    """Bytes of images on disk, headers left out: 64 or 36 of 8x8 pixels a file."""
    files = path.glob(f"cells/*/{paths.SPOOL}/*.safetensors")
    return sum((64 if file.stem == f"{0:010d}" else 36) * 64 for file in files)


def test_an_interrupted_sweep_samples_nothing_twice_and_gives_each_cells_own_images(
    fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 5 * CELL_BYTES
    monkeypatch.setenv("ORCH_WAITING_GIB", str(limit / GIB))
    denoiser = Denoiser(Convolution(), Preconditioning(EdmProcess(), "F"))
    monkeypatch.setattr(sample_worker, "warm_denoiser", lambda *_: denoiser)
    monkeypatch.setattr(sample_worker, "chosen_snapshot", lambda *_: 4000)
    samplers = [EdmStochastic(num_steps=6, s_churn=1, s_tmax=high) for high in (0.02, 0.3, 1, 3, 8, 20, 80)]
    cells = cells_of(fake, samplers)[: len(samplers)]
    units = {cell.cell_id: Unit.of_cell(cell, str(fake.path), None, 1) for cell in cells}
    sampled, calls = dict[str, torch.Tensor](), list[None]()
    denoiser.net.register_forward_hook(lambda *_: calls.append(None))

    def run(unit: Unit) -> None:
        if unit.kind == "draw":
            assert sample_worker.sample_shared_run(unit) == {"state": "done"}
        else:
            images = read_generated(unit.spec, fake.store.cell(unit.unit_id))
            assert images is not None
            sampled[unit.unit_id] = images.images
            fake.store.cell(unit.unit_id).delete_folder(paths.SPOOL)
        assert bytes_waiting(fake.path) <= limit

    # A stop after the first shared run of two, and one in the midst of measuring; then to the end.
    for stop in (1, 3, None):
        left = [cell for cell in cells if cell.cell_id not in sampled]
        rounds = spool_batches_left(left, fake.store)
        job: Any = FakeJob()
        todo = list(chain.from_iterable(spool_batch_units(batch, units, job) for batch in rounds))
        for unit in todo[:stop]:
            run(unit)
    assert sorted(sampled) == sorted(units)
    assert len(calls) == 2 * sum(group.per_image for group in spooled_groups(cells))
    for cell in cells:
        assert torch.equal(sampled[cell.cell_id], generate_cell(cell.experiment, denoiser).images), cell.label
