"""What is said of evaluations that were not needed, and that nothing is said where there were none."""

import pytest

from reports.read.grouping import overview
from reports.read.savings import savings
from reports.tables import sampler_grid

POINTS = {"points": 13_068, "cells": 859}


def words(write, sweep, **evaluations):
    return savings(overview(write(sweep, evaluations=evaluations or None).read()))


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [
        (
            {**POINTS, "naive": 58_500_000, "distinct": 3_850_000, "done": 1_110_000},
            "13,068 points are 859 samplers; drawn together they took 1.11 M network evaluations, "
            "where each alone would have taken 3.85 M and every point 58.5 M.",
        ),
        (
            {"points": 12, "cells": 12, "naive": 4000, "distinct": 4000, "done": 2500},
            "Drawn together, the 12 samplers took 2.50 k network evaluations, "
            "where each alone would have taken 4.00 k.",
        ),
        (
            {"points": 8, "cells": 4, "naive": 8000, "distinct": 4000, "done": 4000},
            "8 points are 4 samplers, which took 4.00 k network evaluations, "
            "where every point would have taken 8.00 k.",
        ),
        ({"points": 4, "cells": 4, "naive": 4000, "distinct": 4000, "done": 4000}, ""),
        ({"points": 4, "cells": 4, "naive": 4000, "distinct": 4000, "done": 4500}, ""),
        ({}, ""),
    ],
)
def test_the_sentence_names_what_was_saved_and_by_what(write, make_sampler_cells, evaluations, expected):
    assert words(write, make_sampler_cells(), **evaluations) == expected


def test_cells_of_several_trainings_are_not_called_samplers(write, make_scale_cells):
    found = words(write, make_scale_cells(), **POINTS, naive=58_500, distinct=3850, done=1110)
    assert found.startswith("13,068 points are 859 cells;")


def test_the_sampler_grid_says_it_in_its_caption(write, make_sampler_cells):
    evaluations = {**POINTS, "naive": 58_500_000, "distinct": 3_850_000, "done": 1_110_000}
    table = sampler_grid.build(overview(write(make_sampler_cells(), evaluations=evaluations).read()))
    assert "drawn together they took 1.11 M" in table.caption
