"""The names a grid's `report:` may hold are the report's own, and the report's names of fields are the
grid's."""

from typing import get_args

import pytest

from orchestrator.grid.fields import SEEDS, catalogue
from orchestrator.grid.file import FigureName, TableName
from reports.figures import FIGURES
from reports.formatting import AXES, axis_label
from reports.tables import TABLES


def test_grid_files_know_every_table_and_figure() -> None:
    assert list(get_args(TableName)) == list(TABLES)
    assert list(get_args(FigureName)) == list(FIGURES)


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
