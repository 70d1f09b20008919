"""The level of the protocol beside every number of images,
and three sample sets with lowest, mean and spread."""

import pytest

from reports.document.compose import compose
from reports.document.protocol import level, level_words
from reports.read.grouping import overview
from reports.tables.registry import TABLES

pytestmark = pytest.mark.slow


def with_fid(cells, **columns):
    for one in cells:
        one["metrics"]["fid"] = one["metrics"].pop("fd_classifier")
        one |= {"extractor": "inception", **columns}
    return cells


def three_sets(cells):
    """Each cell again under sampling seeds 1 and 2, the distance 0.1 and 0.5 higher."""
    found = []
    for one in cells:
        for seed, more in enumerate((0.0, 0.1, 0.5)):
            metrics = {**one["metrics"], "fd_classifier": one["metrics"]["fd_classifier"] + more}
            axes = {**one["axes"], "eval.sample_seed": seed}
            again = {
                "sample_seed": seed,
                "cell_id": f"{one['cell_id']}-{seed}",
                "metrics": metrics,
                "axes": axes,
            }
            found.append({**one, **again})
    return found


def test_full_is_fid_on_fifty_thousand_images_and_everything_else_is_quick(write, make_scale_cells):
    full = overview(write(with_fid(make_scale_cells(), num_samples=50_000), "full").read())
    fewer = overview(write(with_fid(make_scale_cells(), num_samples=49_999), "fewer").read())
    classifier = make_scale_cells()
    for one in classifier:
        one["num_samples"] = 50_000
    assert [level(full), level(fewer), level(overview(write(classifier).read()))] == [
        "full",
        "quick",
        "quick",
    ]
    assert level_words(fewer) == "quick protocol: 49,999 images, extractor inception"


def test_every_table_of_image_metrics_says_that_it_is_quick(scale_sweep, churn_sweep, chain_sweep):
    for folder in (scale_sweep, churn_sweep, chain_sweep):
        document = compose(folder.read())
        assert document.tables
        for table in document.tables:
            assert "Quick protocol: 2,000 images, extractor classifier." in table.caption
            assert set(table.frame["level"]) == {"quick"}
        assert "quick protocol" in [badge.text for badge in document.badges]


def test_a_full_protocol_is_in_the_files_and_needs_no_words(write, make_scale_cells):
    document = compose(write(with_fid(make_scale_cells(), num_samples=50_000)).read())
    for table in document.tables:
        assert "protocol" not in table.caption
        assert set(table.frame["level"]) == {"full"}
    assert "quick protocol" not in [badge.text for badge in document.badges]


def test_a_table_of_losses_is_of_no_level(size_sweep):
    document = compose(size_sweep.read())
    (scaling,) = [table for table in document.tables if table.name == "scaling_law"]
    assert "level" not in scaling.frame
    assert "Quick" not in scaling.caption


@pytest.mark.parametrize(("name", "row", "at"), [("scale_quality", 0, 4), ("nfe_quality", 4, 2)])
def test_three_sample_sets_are_shown_with_mean_lowest_and_spread(name, row, at, write, make_scale_cells):
    table = TABLES[name].build(overview(write(three_sets(make_scale_cells())).read()))
    shown = [cell.text for cell in table.rows[row]]
    # Heun 40 at C = 16: 7.75, 7.85, 8.25; mean 7.95;
    # squares about it 0.04 + 0.01 + 0.09 = 0.14, of 2: std 0.265.
    assert shown[at] == "7.95"
    assert {"7.75", "0.265"} <= set(shown)
    assert "3 sampling seeds: sampling noise only, no interval" in table.caption
    assert "Lowest and std: over the 3 sampling seeds of a training, sampling noise only" in table.caption
    assert not any(cell.interval for cells in table.rows for cell in cells)


def test_one_sample_set_has_no_columns_for_more(scale_sweep):
    for name in ("scale_quality", "nfe_quality"):
        table = TABLES[name].build(overview(scale_sweep.read()))
        assert not any("sampling std" in column.name for column in table.columns)
        assert {
            kind for column in table.frame for kind in ("lowest", "sampling std") if column.endswith(kind)
        }


@pytest.mark.parametrize("name", ["consistency", "best_samplers"])
def test_intervals_of_trainings_are_named_wherever_they_are_shown(name, write, make_cell):
    cells = []
    for seed in (0, 1, 2):
        for steps in range(9, 17):
            sampler = {"kind": "heun", "num_steps": steps}
            one = make_cell({"train.seed": seed}, sampler, 5.0 + steps / 10 + seed / 10, train_seed=seed)
            one["metrics"]["agreement"] = 0.5 + seed / 100
            cells.append(one)
    table = TABLES[name].build(overview(write(cells).read()))
    assert any(shown.interval for row in table.rows for shown in row)
    assert "Mean [95% t-interval] over 3 training seeds." in table.caption
