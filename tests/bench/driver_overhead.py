"""What Ray and the store cost beyond the work itself:
the same units as a bare Python loop and through the driver.

Run `python tests/bench/driver_overhead.py [CELLS]`. Both are measured in one run, on one core each, so that
their ratio means something; absolute times depend on the machine. Nothing here is asserted.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from engine.data.datasets import load_images
from engine.evaluation.evaluate import evaluate_cell, load_denoiser, select_snapshot
from engine.evaluation.measured_cell import ReferenceContext
from engine.evaluation.snapshot_cache import Snapshot
from engine.files import LocalFiles
from engine.metrics.features import build_extractor
from engine.metrics.reference import load_reference
from engine.training.loop import train
from orchestrator.console.progress import Progress
from orchestrator.execution.ray_session import ray_session
from orchestrator.execution.storage_lock import storage_lock
from orchestrator.grid import load_sweep
from orchestrator.planning.plan import Plan
from orchestrator.planning.unit import Unit
from orchestrator.search.current_plan import whole_plan
from orchestrator.storage.store import Store

RECIPE = """\
data: {name: digits}
model: {kind: ddpmpp, channels: 8, channel_mult: [1], num_blocks: 1, attention_resolutions: [], dropout: 0}
objective: {kind: edm}
train: {batch_size: 64, total_kimg: 6.4, snapshot_kimg: 3.2, lr: 2e-3, lr_rampup_kimg: 0.1,
        ema_halflife_kimg: 0.2}
sample: {kind: heun, num_steps: 4}
eval: {extractor: classifier, num_samples: 128, batch_size: 64,
       selection: {sampler: {num_steps: 3}, num_samples: 64}}
"""

GRID = """\
schema: orch/grid@1
name: bench
recipe: bench
varies: scale
off_playbook: true
axes: {{model.channels: [8, 12]}}
panel: [{{kind: euler, num_steps: 4, rho: {rhos}}}]
"""


def make_bench_plan(root: Path, cells: int) -> tuple[Plan, Store]:
    """A plan of two small trainings and `cells` small cells in a fresh storage."""
    (root / "recipes").mkdir(parents=True)
    (root / "recipes" / "bench.yaml").write_text(RECIPE)
    rhos = [round(3 + 0.05 * number, 2) for number in range(cells // 2)]
    (root / "grid.yaml").write_text(GRID.format(rhos=rhos))
    sweep, store = load_sweep(root / "grid.yaml"), Store.open(root / "runs")
    return whole_plan(sweep, store), store


def bare_loops(plan: Plan, root: Path) -> tuple[float, float]:
    """Seconds of all trainings and of all cells, one after the other in this process."""
    device = torch.device("cpu")
    images = load_images("digits", None)
    extractor = build_extractor("classifier", images, files=LocalFiles(root / "judge"))
    judge = ReferenceContext(extractor, load_reference(extractor, images, files=LocalFiles(root / "judge")))
    chosen = {}

    def trainings() -> None:
        for unit in plan.trainings:
            files = LocalFiles(root / unit.train_id)
            train(unit.experiment, images, files, lambda tick: None, device)
            chosen[unit.train_id] = select_snapshot(unit.experiment, files, judge, device).chosen

    def cells() -> None:
        for unit in plan.trainings:
            files = LocalFiles(root / unit.train_id)
            denoiser = load_denoiser(unit.experiment, files, chosen[unit.train_id], device)
            for cell in plan.cells:
                if cell.training is unit:
                    snapshot = Snapshot(cell.experiment, denoiser, files, chosen[unit.train_id])
                    cell_files = LocalFiles(root / cell.cell_id)
                    evaluate_cell(snapshot, judge, lambda split: images, cell_files)

    return seconds(trainings), seconds(cells)


def through_ray(plan: Plan, store: Store) -> tuple[float, float]:
    """The same through the driver, one unit at a time:
    seconds of both phases, Ray itself being up already."""
    from orchestrator.execution.draining import Draining
    from orchestrator.execution.job import Job
    from orchestrator.execution.run_units import run_cells, run_trainings

    class OneAtATime(Job):
        def slots(self) -> int:
            return 1

    console = Console(quiet=True)
    with (
        storage_lock(store),
        ray_session(store, None),
        Progress(console, store.sweep("bench"), {}, {"train": 1, "sample": 1}) as progress,
    ):
        job = OneAtATime(store, plan.sweep.grid.resources, None, progress, Draining())
        trainings = [Unit.of_training(unit, store.uri, None, 1) for unit in plan.trainings]
        cells = [Unit.of_cell(cell, store.uri, None, 1) for cell in plan.cells]
        return seconds(lambda: run_trainings(trainings, 1, job)), seconds(lambda: run_cells(cells, job))


def seconds(action: Callable[[], None]) -> float:
    """How long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main(cells: int) -> None:
    """Measure both and print the ratios."""
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="orch-bench-"))
    try:
        plan, store = make_bench_plan(root, cells)
        bare = bare_loops(plan, root / "bare")
        driven = through_ray(plan, store)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    counts = {"training": len(plan.trainings), "cell": len(plan.cells)}
    print(f"{'unit':10} {'count':>6} {'bare s':>9} {'driver s':>9} {'ratio':>7} {'overhead s / unit':>18}")
    for (kind, count), plain, ray_seconds in zip(counts.items(), bare, driven, strict=True):
        overhead = (ray_seconds - plain) / count
        print(
            f"{kind:10} {count:6} {plain:9.2f} {ray_seconds:9.2f} {ray_seconds / plain:7.2f} {overhead:18.3f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 80)
