"""Names of files are a contract with every store that exists."""

from engine.records import paths


def test_names_are_those_of_0_4_0() -> None:
    assert paths.training_done("t") == "train/t/DONE.json"
    assert paths.training_selection("t", "s") == "train/t/selections/s.json"
    assert paths.cell_done("c") == "cells/c/DONE.json"
    assert paths.cell_panel("c") == "cells/c/panel.png"
    assert paths.sweep_folder("quickstart") == "sweeps/quickstart"
    assert paths.references_folder("digits", "classifier") == "references/digits-classifier"
    assert paths.snapshot(9984) == "snapshots/images_0000009984.safetensors"
    assert paths.snapshot(9984, "raw") == "snapshots/images_0000009984.raw.safetensors"
    assert paths.snapshot_panel(9984) == "panels/images_0000009984.png"
    assert paths.spooled_batch(64) == "drawn/0000000064.safetensors"
