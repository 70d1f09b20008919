"""A search over samplers: Optuna's proposals come in
batches, are written down first and never measured twice."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import GridError, UsageError
from orchestrator.grid import load_sweep
from orchestrator.search import batched as batched_search
from orchestrator.search.batched import run_batches, varies_samplers_alone
from orchestrator.search.current_plan import current_plan, is_complete, plan_of
from orchestrator.search.proposals import Proposals

SEARCH = """search: {name: optuna, num_trials: 10, metric: fd_classifier}
axes: {sample.num_steps: [2, 3, 4, 5, 6, 7, 8, 9], sample.sigma_max: [10, 20, 30, 40, 50, 60, 70, 80]}
"""


@pytest.fixture
def search(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A search of 10 among 64 samplers, four at a time."""
    monkeypatch.setattr(batched_search, "BATCH", 4)
    text = fake.sweep.source
    return fake.changed(text[text.index("axes:") :], SEARCH, varies="sampler")


class Lab:
    """Measures what it is asked for: near 5 steps from 40 is best."""

    def __init__(self, search: Any, fails: bool = False) -> None:
        self.search, self.fails = search, fails
        self.batches: list[int] = []

    def __call__(self, points: Any) -> None:
        plan = plan_of(self.search.sweep, points, self.search.store)
        self.batches.append(len(plan.missing_cells))
        for unit in plan.missing_trainings:
            self.search.finish_training(unit)
        for cell in plan.missing_cells:
            sampler = cell.experiment.sample
            distance = (sampler.num_steps - 5) ** 2 + (sampler.sigma_max / 10 - 4) ** 2
            if not self.fails:
                self.search.finish_cell(cell, distance=distance)


def run(search: Any, lab: Any) -> None:
    run_batches(search.sweep, search.store, search.store.sweep("tiny"), lab)


def tried(search: Any) -> list[dict[str, int]]:
    return Proposals(search.sweep, search.store.sweep("tiny")).tried()


def test_proposals_come_in_batches_until_there_are_enough(search: Any) -> None:
    lab = Lab(search)
    run(search, lab)
    assert len(lab.batches) == 3
    assert len(tried(search)) == 10
    plan = current_plan(search.sweep, search.store)
    assert is_complete(plan, search.store.sweep("tiny"))
    run(search, lambda points: pytest.fail("all trials are done") if len(lab.batches) > 3 else lab(points))
    assert lab.batches[3:] == [0]


def test_a_batch_is_written_down_before_it_runs_and_finished_after_a_stop(search: Any) -> None:
    def killed(points: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(search, killed)
    first = tried(search)
    assert len(first) == 4
    lab = Lab(search)
    run(search, lab)
    assert tried(search)[:4] == first
    assert len(tried(search)) == 10
    assert lab.batches[0] == len({tuple(sorted(one.items())) for one in first})


def test_failed_proposals_count_as_tried_and_end(search: Any) -> None:
    run(search, Lab(search, fails=True))
    assert len(tried(search)) == 10


def test_what_was_measured_decides_what_is_proposed_next(fake_in: Any, tmp_path: Path) -> None:
    ways = []
    for name, mode in (("down", "min"), ("up", "max")):
        fake = fake_in(tmp_path / name)
        text = fake.sweep.source
        longer = SEARCH.replace("num_trials: 10", f"num_trials: 40, mode: {mode}")
        one = fake.changed(text[text.index("axes:") :], longer, varies="sampler")
        run(one, Lab(one))
        ways.append(tried(one))
    down, up = ways
    assert down[:8] == up[:8]  # Optuna's first ten are at random, by the same seed
    assert down[16:] != up[16:]


def test_only_a_grid_of_samplers_is_searched_in_batches(search: Any, fake: Any) -> None:
    assert varies_samplers_alone(search.sweep)
    text = fake.sweep.source
    mixed = "search: {num_trials: 2}\naxes: {model.channels: [8, 16]}\n"
    assert not varies_samplers_alone(fake.changed(text[text.index("axes:") :], mixed).sweep)


def test_a_metric_that_cells_lack_is_named_with_those_they_have(search: Any) -> None:
    """Whether this one is measured may depend on a point's sampler, so only a finished cell tells."""
    wrong = search.changed("metric: fd_classifier", "metric: agreement")
    with pytest.raises(UsageError, match=r"cells have no agreement, only .*recall"):
        run(wrong, Lab(wrong))


def test_a_metric_that_is_none_is_refused_in_its_line(search: Any) -> None:
    with pytest.raises(GridError, match=r"search.metric: recal is not measured .* did you mean \"recall\""):
        search.changed("metric: fd_classifier", "metric: recal")


def test_a_distance_of_another_extractor_is_refused_in_its_line(search: Any) -> None:
    with pytest.raises(
        GridError, match=r"search.metric: fid is not measured: 100 images .* give fd_classifier"
    ):
        search.changed("metric: fd_classifier", "metric: fid")


def test_a_smoke_run_searches_for_the_distance_it_measures(search: Any) -> None:
    overlay = search.sweep.path.parent / "smoke/tiny_digits.yaml"
    overlay.parent.mkdir()
    overlay.write_text("eval: {extractor: classifier, num_samples: 80}")
    path = search.sweep.path
    path.write_text(search.sweep.source.replace("metric: fd_classifier", "metric: fd_pixels"))
    assert load_sweep(path, smoke=True).grid.search.metric == "fd_classifier"


def test_a_search_goes_on_over_longer_axes_and_not_over_others(search: Any) -> None:
    run(search, Lab(search))
    longer = search.changed("60, 70, 80]", "60, 70, 80, 75]").changed("num_trials: 10", "num_trials: 12")
    run(longer, Lab(longer))
    assert len(tried(longer)) == 12
    shifted = longer.changed("[10, 20,", "[5, 10, 20,")
    with pytest.raises(UsageError, match="begun over other axes"):
        current_plan(shifted.sweep, shifted.store)
