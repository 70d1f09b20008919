"""The names a grid's `report:` may hold are the report's
own, and the report's names of fields are the grid's."""

import pytest
from pydantic import ValidationError

from orchestrator.grid.fields import SEEDS, catalogue
from orchestrator.grid.file import Report
from reports.figures.registry import FIGURES
from reports.formatting import AXES, axis_label
from reports.tables.registry import TABLES


def test_grid_files_know_every_table_and_figure() -> None:
    defs = Report.model_json_schema()["properties"]
    assert defs["tables"]["anyOf"][0]["items"]["enum"] == list(TABLES)
    assert defs["figures"]["anyOf"][0]["items"]["enum"] == list(FIGURES)


def test_a_grid_may_name_tables_and_figures_and_no_others() -> None:
    shown = Report(tables=("few_step",), figures=("churn", "heat_map"))
    assert shown.tables == ("few_step",)
    with pytest.raises(ValidationError, match=r"'scale_quality', 'scaling_law'"):
        Report(tables=("few_steps",))


def test_every_field_that_reports_have_a_name_for_exists() -> None:
    assert set(AXES) - {"sample"} <= {*catalogue(), *SEEDS}


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("objective.kind", "objective"),
        ("objective.weighting.kind", "weighting"),
        ("objective.noise_levels.kind", "noise levels"),
        ("weights.kind", "weights"),
        ("weights.sigma_rel", "EMA width"),
        ("sample.covariance", "covariance"),
        ("sample.guidance", "w"),
        ("train.grad_clip.max_norm", "max norm"),
        ("train.compile", "torch.compile"),
        ("train.checkpointing", "checkpointing"),
        ("model.depth", "depth"),
        ("model.width", "width"),
        ("model.num_heads", "heads"),
        ("model.patch_size", "patch"),
        ("model.flops_ratio", "FLOPs budget"),
        ("model.routes", "may skip"),
        ("model.complete_kimg", "L_complete (kimg)"),
    ],
)
def test_fields_of_the_design_space_have_readable_names(field: str, label: str) -> None:
    assert field in catalogue()
    assert axis_label(field) == label
