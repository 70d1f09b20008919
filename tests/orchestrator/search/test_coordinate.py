"""`enumerate: coordinate`: one axis after the other, the best value kept, until no axis changes."""

import itertools
import math

import pytest

from orchestrator.search.coordinate import current_walk, points_at, run_lines, start_position, walk
from orchestrator.search.current_plan import current_plan, is_complete, plan_of

SEARCH = "enumerate: coordinate\naxes: {sample.num_steps: [2, 3, 4], sample.sigma_max: [40, 60, 80]}"


@pytest.fixture
def search(fake):
    """A search over two axes of the sampler, around the recipe's 3 steps from 80."""
    text = fake.sweep.source
    axes = text[text.index("axes:") :]
    return fake.changed(axes, SEARCH + "\n", varies="sampler")


def measure(search, points, distance):
    """Finish the cells of these points at what `distance` says of steps and sigma_max."""
    plan = plan_of(search.sweep, points, search.store)
    for unit in plan.missing_trainings:
        search.finish_training(unit)
    for cell in plan.missing_cells:
        sampler = cell.experiment.sample
        search.finish_cell(cell, distance=distance(sampler.num_steps, sampler.sigma_max))


def bowl(position):
    return float((position[0] - 3) ** 2 + (position[1] - 1) ** 2 + (position[2] - 2) ** 2)


def test_a_walk_finds_the_lowest_point_of_a_bowl_without_visiting_the_whole_grid():
    found = walk((0, 0, 0), (5, 5, 5), bowl)
    assert (found.best, found.missing) == ((3, 1, 2), ())
    # One line an axis, and once more for the first two: nothing moves after the third.
    assert len(found.asked) == 1 + 4 + 4 + 4 + 4 + 4


@pytest.mark.parametrize("seed", range(20))
def test_where_a_walk_ends_no_axis_alone_can_do_better(seed):
    import random

    generator = random.Random(seed)
    worths = {position: generator.random() for position in itertools.product(range(4), range(3), range(5))}
    found = walk((0, 0, 0), (4, 3, 5), worths.__getitem__)
    neighbours = [
        (*found.best[:axis], number, *found.best[axis + 1 :])
        for axis, size in enumerate((4, 3, 5))
        for number in range(size)
    ]
    assert worths[found.best] == min(worths[position] for position in neighbours)
    assert set(neighbours) <= set(found.asked)


def test_of_equal_positions_the_present_one_stays():
    assert walk((1, 2), (3, 3), lambda position: 0.0).best == (1, 2)


def test_a_failed_position_is_never_the_best_and_stops_nothing():
    found = walk((0,), (3,), lambda position: math.inf if position == (0,) else 5.0)
    assert (found.best, found.missing) == ((1,), ())


def test_it_starts_at_the_recipe_and_asks_for_the_first_axis(search):
    assert start_position(search.sweep) == (1, 2)
    found = current_walk(search.sweep, search.store)
    assert found.missing == ((0, 2), (1, 2), (2, 2))
    assert not is_complete(current_plan(search.sweep, search.store), search.store.sweep("tiny"))


def test_coordinate_search_runs_axes_until_none_changes(search):
    lines = []

    def run(points):
        lines.append(len(points))
        measure(search, points, lambda steps, sigma: (steps - 4) ** 2 + (sigma - 60) ** 2 + 1)

    run_lines(search.sweep, search.store, run)
    assert lines == [3, 2, 2]
    assert current_walk(search.sweep, search.store).best == (2, 1)
    plan = current_plan(search.sweep, search.store)
    assert (len(plan.cells), len(plan.missing_cells)) == (7, 0)
    assert is_complete(plan, search.store.sweep("tiny"))
    run_lines(search.sweep, search.store, lambda points: pytest.fail("nothing is missing"))


def test_a_stopped_search_goes_on_with_what_its_axis_lacks(search):
    first = current_walk(search.sweep, search.store).missing[0]
    measure(search, points_at(search.sweep, first), lambda steps, sigma: 1.0)
    assert current_walk(search.sweep, search.store).missing == ((1, 2), (2, 2))


def test_coordinate_search_stops_when_an_axis_cannot_be_measured(search):
    tries = []
    run_lines(search.sweep, search.store, lambda points: tries.append(len(points)))
    assert tries == [3]


def test_a_training_that_diverges_is_never_the_best_and_stops_nothing(fake):
    text = fake.sweep.source
    search = fake.changed(
        text[text.index("axes:") :], "enumerate: coordinate\naxes: {model.channels: [8, 16, 24]}\n"
    )

    def run(points):
        plan = plan_of(search.sweep, points, search.store)
        for unit in plan.missing_trainings:
            if unit.experiment.model.channels == 8:
                search.fail(f"train/{unit.train_id}", "NonFiniteLoss: the loss is nan")
            else:
                search.finish_training(unit)
        for cell in plan.missing_cells:
            if cell.experiment.model.channels != 8:
                search.finish_cell(cell, distance=float(cell.experiment.model.channels))

    run_lines(search.sweep, search.store, run)
    found = current_walk(search.sweep, search.store)
    assert (found.best, found.missing) == ((1,), ())


def test_a_distance_that_is_no_number_is_never_the_best_and_the_walk_ends(search):
    def run(points):
        measure(search, points, lambda steps, sigma: math.nan if steps == 2 else float(steps))

    run_lines(search.sweep, search.store, run)
    assert current_walk(search.sweep, search.store).best[0] == 1


def test_what_fails_in_a_run_is_tried_again_by_the_next_one_alone(search, monkeypatch):
    pytest.importorskip("ray")
    from types import SimpleNamespace

    from orchestrator.execution import run_units
    from orchestrator.execution.run_plan import run_search

    runs = []

    def run_missing(plan, job):
        runs.append(len(plan.missing_cells))
        for unit in plan.missing_trainings:
            search.finish_training(unit)
        for cell in plan.missing_cells:
            if cell.experiment.sample.num_steps == 2:
                search.fail(f"cells/{cell.cell_id}", "diverged")
            else:
                search.finish_cell(cell, distance=float(cell.experiment.sample.num_steps))

    monkeypatch.setattr(run_units, "run_missing", run_missing)
    for expected in ([3, 2], [1]):
        runs.clear()
        plan = current_plan(search.sweep, search.store)
        run_search(plan, SimpleNamespace(store=search.store), search.store.sweep("tiny"))
        assert runs == expected
