"""The few-step panel: every covariance at every number of steps, the best of each marked."""

from reports.read.grouping import overview
from reports.tables.few_step import build


def texts(table):
    return [[shown.text for shown in row] for row in table.rows]


def bold(table):
    return [[shown.text for shown in row if shown.best] for row in table.rows]


def test_few_step_table_has_one_row_for_each_covariance(chain_sweep):
    table = build(overview(chain_sweep.read()))
    assert texts(table) == [
        ["DDIM", "8.50", "8.50", "8.50", "—", "—", "—", "0.250", "0.250", "0.250"],
        ["DDPM beta_tilde", "10.00", "9.00", "7.00", "5.00", "4.50", "3.50", "0.250", "0.250", "0.250"],
        ["DDPM ocm", "7.50", "7.00", "6.00", "3.75", "3.50", "3.00", "0.250", "0.250", "0.250"],
    ]
    assert table.groups == [
        ("", 1),
        ("fd_classifier ↓", 3),
        ("NELBO, test (bits / dim) ↓", 3),
        ("recall ↑", 3),
    ]
    assert [column.label for column in table.columns[1:4]] == ["5 steps", "10", "20"]
    assert bold(table) == [[], [], ["7.50", "7.00", "6.00", "3.75", "3.50", "3.00"]]
    assert "Deterministic: DDIM." in table.caption


def test_each_training_has_a_best_of_its_own(write, make_chain_cells):
    table = build(overview(write(make_chain_cells(channels=(8, 16))).read()))
    assert [row[:2] for row in texts(table)] == [
        [f"C = {width}", name] for width in (8, 16) for name in ("DDIM", "DDPM beta_tilde", "DDPM ocm")
    ]
    assert [found[:3] for found in bold(table)] == [
        [],
        [],
        ["6.50", "6.00", "5.00"],
        [],
        [],
        ["7.50", "7.00", "6.00"],
    ]


def test_steps_beyond_the_fewest_four_are_left_to_the_file(write, make_chain_cells, make_cell):
    sampler = {"kind": "ddpm", "covariance": "ocm"}
    extra = [make_cell({}, {**sampler, "num_steps": steps}, 4.0) for steps in (50, 100)]
    axes = {"model.channels": 16}
    for one in extra:
        one["axes"] = {**axes, "sample.covariance": "ocm", "sample.num_steps": one["sampler"]["num_steps"]}
    table = build(overview(write([*make_chain_cells(), *extra]).read()))
    recalls = [column.label for column in table.columns if column.group.startswith("recall")]
    assert recalls == ["5 steps", "10", "20", "50"]
    assert list(table.frame["fd_classifier (100 steps)"].dropna()) == [4.0]
    assert "100 steps are in tables/few_step.csv." in table.caption


def test_one_covariance_without_a_bound_is_no_panel(write, make_chain_cells, scale_sweep):
    ddim = [one for one in make_chain_cells() if one["sampler"]["kind"] == "ddim"]
    assert build(overview(write(ddim, "ddim").read())) is None
    assert build(overview(scale_sweep.read())) is None


def test_a_bound_at_several_steps_is_a_panel_of_one_covariance(write, make_chain_cells):
    table = build(
        overview(write([one for one in make_chain_cells() if "nelbo_test" in one["metrics"]][1::2]).read())
    )
    assert [row[0] for row in texts(table)] == ["DDPM ocm"]
