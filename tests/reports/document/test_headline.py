"""The answer in words: right numbers, right rival, and no more certainty than the seeds give."""

import math

from reports.document.headline import answer, title
from reports.read.grouping import overview

HEUN = {"kind": "heun", "num_steps": 18}
CHURN = {"kind": "edm_stochastic", "num_steps": 18, "s_churn": 30.0}


def words(folder):
    return " ".join(answer(overview(folder.read())))


def test_the_title_says_what_was_swept(scale_sweep, churn_sweep):
    assert title(overview(scale_sweep.read())) == "C ∈ {16, 32} × 5 samplers"
    assert title(overview(churn_sweep.read())) == "S_churn ∈ {0, 10, 20} × S_noise ∈ {1, 1.007}"


def test_many_values_are_counted_in_the_title(write, make_cell):
    sampler = {"kind": "edm_stochastic", "num_steps": 18}
    cells = [
        make_cell({"sample.s_churn": c}, {**sampler, "s_churn": c}, 5.0 - c / 100)
        for c in map(float, range(7))
    ]
    assert title(overview(write(cells).read())) == "S_churn ∈ [0, 6], 7 values"


def test_trainings_are_compared_at_the_reference_sampler_against_the_smallest(scale_sweep):
    # (7.75 - 5.00) / 7.75 = 35.5 %; the best stochastic configuration has 6.50 / 5.00 = 1.30.
    assert words(scale_sweep) == (
        "At Heun 40, C = 32 is best with fd_classifier 5.00: 2.75 (35.5%) below the 7.75 of C = 16, the "
        "smallest. It is also the lowest of all 10 configurations. No sampler that adds noise did better: "
        "the closest, C = 32 under EDM 18 churn 30, is 30.0% higher. One training seed: how far a repeat "
        "would land is unknown, so small differences may be noise."
    )


def test_a_stochastic_winner_is_held_against_the_deterministic_sampler_of_its_cost(churn_sweep):
    assert words(churn_sweep).startswith(
        "The lowest of all 5 configurations is EDM 18 churn 10, S_noise = 1.007, with fd_classifier "
        "3.00 at 35 NFE: 1.00 (25.0%) below the 4.00 of EDM 18 churn 0, deterministic at the same cost."
    )


def test_three_seeds_give_the_interval_of_the_gap_and_no_caveat(seeded_sweep):
    text = words(seeded_sweep)
    assert "The 95% interval of that gap over 3 training seeds, [2.75, 2.75], excludes 0." in text
    assert "One training seed" not in text


def test_an_interval_that_includes_zero_is_inconclusive(write, make_cell):
    distances = {16: (4.0, 4.0, 4.0), 32: (1.0, 4.0, 6.0)}
    cells = [
        make_cell(
            {"model.channels": channels, "train.seed": seed},
            HEUN,
            value,
            train_seed=seed,
            num_params=channels,
        )
        for channels, values in distances.items()
        for seed, value in enumerate(values)
    ]
    assert "Inconclusive: the 95% interval of that gap over 3 training seeds" in words(write(cells))


def test_a_gap_that_retraining_alone_can_make_is_called_noise(write, make_cell):
    cells = [
        make_cell({"sample.s_churn": s.get("s_churn", 0.0)}, s, d) for s, d in ((HEUN, 4.0), (CHURN, 3.99))
    ]
    assert "A difference this small may be sampling noise" in words(write(cells))


def test_the_smallest_network_is_compared_with_the_runner_up_when_it_is_best(write, make_cell):
    distances = {16: 4.0, 32: 5.0, 64: 8.0}
    cells = [make_cell({"model.channels": c}, HEUN, d, num_params=c) for c, d in distances.items()]
    assert "below the 5.00 of C = 32, the runner-up." in words(write(cells))


def test_a_single_cell_is_only_stated(write, make_cell):
    assert words(write([make_cell({}, HEUN, 4.0)])).startswith(
        "The one configuration reaches fd_classifier 4.00."
    )


def test_a_sweep_that_diverged_everywhere_says_so(write, make_cell):
    cells = [make_cell({"model.channels": c}, HEUN, math.nan) for c in (16, 32)]
    assert words(write(cells)) == "No cell has a finite fd_classifier: every one of them failed or diverged."
