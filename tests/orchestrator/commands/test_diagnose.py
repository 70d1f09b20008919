"""`orch diagnose`: a training's loss beside its optimum, as a table, a picture and JSON."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine.data.datasets import load_images
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.objectives.hybrid import HybridObjective
from engine.objectives.vlb import VlbObjective
from engine.training.loop import train
from orchestrator import cli
from orchestrator.console.diagnosis_view import find_training, loss_name
from orchestrator.grid import load_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(fake_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny sweep, whose first training is really there; the second is only planned."""
    torch.set_num_threads(1)
    fake = fake_in(tmp_path_factory.mktemp("trained"))
    unit = fake.plan().trainings[0]
    fake.finish_training(unit)
    folder = fake.path / "train" / unit.train_id
    train(
        unit.experiment,
        load_images("digits", None),
        LocalFiles(folder),
        lambda tick: None,
        torch.device("cpu"),
    )
    fake.save_plan()
    return fake


@pytest.fixture
def diagnose(trained: Any, orch: Any) -> Any:
    """Runs `orch diagnose` on the trained store."""
    return lambda *arguments: orch("diagnose", *arguments, "--storage", str(trained.path), "--draws", "16")


def identity(trained: Any) -> str:
    return str(trained.plan().trainings[0].train_id)


def test_the_table_says_what_training_can_still_win_and_where(
    trained: Any, diagnose: Any, tmp_path: Path
) -> None:
    code, out, err = diagnose(identity(trained)[:6], "--every-snapshot")
    assert code == 0, err
    assert "channels 8" in out
    assert "training loss" in out
    assert "loss / optimum" in out
    assert "2 kimg:" in out
    assert "4 kimg:" in out
    picture = Image.open(io.BytesIO((tmp_path / f"diagnosis_{identity(trained)[:8]}.png").read_bytes()))
    assert picture.width > 1000


def test_json_has_every_curve_and_the_loss_is_never_below_its_optimum(trained: Any, diagnose: Any) -> None:
    code, out, _ = diagnose("tiny", "--json")
    assert code == 0
    found = json.loads(out)
    assert len(found["sigma"]) == 24
    assert all(loss >= best for loss, best in zip(found["model_loss"], found["optimal_loss"], strict=True))
    assert not list(Path().glob("*.png"))


def test_the_numbers_are_kept_with_the_training(
    trained: Any, diagnose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = diagnose(identity(trained), "--json")
    monkeypatch.setattr(
        "engine.evaluation.snapshot_cache.diagnose", lambda *args, **settings: pytest.fail("measured twice")
    )
    assert diagnose(identity(trained), "--json") == first


def test_an_earlier_snapshot_can_be_asked_for(trained: Any, diagnose: Any) -> None:
    assert json.loads(diagnose("tiny", "--json", "--snapshot", "2")[1])["words"].startswith("2 kimg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zzzz",), "no finished training or sweep"),
        (("tiny", "--snapshot", "3"), "this training has snapshots at 2, 4 kimg"),
        (("tiny", "--out", "x.svg"), "the picture is a PNG"),
    ],
)
def test_a_mistake_is_named(diagnose: Any, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = diagnose(*arguments)
    assert code == 2
    assert message in err


def test_a_sweep_of_several_trainings_lists_them(finished: Any, orch: Any) -> None:
    code, _, err = orch("diagnose", "tiny", "--storage", str(finished.path))
    assert code == 2
    assert "has 2 finished trainings" in err
    assert "channels 16" in err


def test_a_training_that_sweeps_share_is_found_under_each_of_their_names(finished: Any, orch: Any) -> None:
    one = finished.changed("[8, 16]", "[8]")
    (one.sweep.path).write_text(one.sweep.source.replace("name: tiny", "name: alone"))
    type(finished)(finished.path, load_sweep(one.sweep.path)).save_plan()
    store = finished.store
    for name in ("alone", one.plan().trainings[0].train_id):
        assert find_training(store, name, 16, None).identity == one.plan().trainings[0].train_id
    assert find_training(store, "alone", 16, None).label.startswith("alone: ")
    assert "has 2 finished trainings" in orch("diagnose", "tiny", "--storage", str(finished.path))[2]


def test_a_training_of_another_version_is_refused_in_words(finished: Any, orch: Any) -> None:
    unit = finished.plan().trainings[0]
    record = {**unit.experiment.model_dump(mode="json"), "colour": "blue"}
    finished.json(f"train/{unit.train_id}/spec.json", record)
    code, _, err = orch("diagnose", unit.train_id, "--storage", str(finished.path))
    assert code == 2
    assert "colour is not known here" in err


def test_it_is_listed_with_an_example() -> None:
    assert "diagnose" in [command.name for command in cli.app.registered_commands]


@pytest.mark.parametrize(
    ("objective", "name"),
    [(EdmObjective(), "training loss"), (HybridObjective(), "L_simple"), (VlbObjective(), "L_simple")],
)
def test_an_objective_with_a_bound_is_measured_by_its_simple_part_and_says_so(
    objective: Any, name: str
) -> None:
    assert loss_name(objective.design) == name
