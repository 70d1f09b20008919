"""Every metric that was measured is in a table under its own header, also when a sweep has one cell."""

import json

from reports.read.grouping import overview
from reports.tables.all_metrics import build


def test_the_metrics_of_a_single_cell_are_shown_in_groups(write, make_cell):
    one = make_cell({}, {"kind": "heun", "num_steps": 3}, 7.5)
    one["metrics"] |= {"density": 0.75, "coverage": 0.875, "sharpness": 12.0}
    table = build(overview(write([one]).read()))
    assert [column.full_label for column in table.columns] == [
        "sampler",
        "NFE",
        "distance fd_classifier ↓",
        "overlap precision ↑",
        "overlap recall ↑",
        "overlap density ↑",
        "overlap coverage ↑",
        "cost ms / image",
        "sharpness",
    ]
    shown = [cell.text for cell in table.rows[0]]
    assert shown == ["Heun 3", "5", "7.50", "0.500", "0.250", "0.750", "0.875", "2.00", "12.0"]


def test_of_a_metric_that_nothing_is_known_of_no_value_is_best(write, make_cell):
    cells = [make_cell({}, {"kind": "heun", "num_steps": steps}, 9.0 - steps) for steps in (3, 5)]
    for number, one in enumerate(cells):
        one["metrics"]["sharpness"] = float(number)
    table = build(overview(write(cells).read()))
    best = {
        column.name
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
        if cell.best
    }
    assert best == {"fd_classifier"}


def test_scores_stand_beside_the_distance_with_their_arrows(write, make_cell):
    one = make_cell({}, {"kind": "heun", "num_steps": 3}, 7.5)
    one["metrics"] |= {"inception_score": 9.5, "kid": 0.0021, "sfid": 4.5}
    folder = write([one])
    path = folder.sweep / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, label, better in (
        ("inception_score", "Inception score", "higher"),
        ("kid", "KID", "lower"),
        ("sfid", "sFID", "lower"),
    ):
        manifest["metrics"][name] = {"name": name, "label": label, "better": better, "group": "score"}
    path.write_text(json.dumps(manifest))
    labels = [column.full_label for column in build(overview(folder.read())).columns]
    assert labels[2:6] == [
        "distance fd_classifier ↓",
        "score Inception score ↑",
        "score KID ↓",
        "score sFID ↓",
    ]
