"""What metrics and extractors need is said by `orch plan`, before anything is spent."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.console.plan_view import show_plan
from orchestrator.errors import GridError, UsageError
from orchestrator.grid import Sweep, load_sweep
from orchestrator.planning.preflight import Surroundings, refuse_hopeless
from orchestrator.planning.speed import speed_of
from orchestrator.search.current_plan import whole_plan
from orchestrator.storage.store import Store


def sweep(folder: Path, settings: str, *, recipe: str = "edm_digits", smoke: bool = False) -> Sweep:
    path = folder / "g.yaml"
    path.write_text(
        f"schema: orch/grid@1\nname: g\nrecipe: {recipe}\nvaries: sampler\n"
        f"set: {{{settings}}}\naxes: {{sample.num_steps: [3, 5]}}\n"
    )
    return load_sweep(path, smoke=smoke)


def problems(folder: Path, settings: str) -> str:
    with pytest.raises(GridError) as caught:
        whole_plan(sweep(folder, settings), Store.open(folder / "runs"))
    return str(caught.value)


def shown(planned: Sweep, folder: Path) -> str:
    console = Console(file=StringIO(), width=400)
    show_plan(whole_plan(planned, Store.open(folder / "runs")), speed_of(planned, {}), None, console)
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that nobody has brought weights to."""
    for name in ("ORCH_INCEPTION_WEIGHTS", "ORCH_DINOV2_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


DINOV2 = "eval.extractor: dinov2"


def test_absent_weights_that_are_not_downloaded_are_shown_with_what_to_do(tmp_path: Path) -> None:
    text = shown(sweep(tmp_path, DINOV2), tmp_path)
    assert "weights missing: the weights of the extractor dinov2 are missing: fetch https://" in text
    assert "ORCH_DINOV2_WEIGHTS" in text


@pytest.mark.parametrize(
    ("extractor", "variable"), [("dinov2", "ORCH_DINOV2_WEIGHTS"), ("inception", "ORCH_INCEPTION_WEIGHTS")]
)
def test_a_named_file_that_is_not_there_is_named(
    extractor: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "absent.pth"))
    text = shown(sweep(tmp_path, f"eval.extractor: {extractor}"), tmp_path)
    assert f"{variable} names {tmp_path / 'absent.pth'}, which is not there" in text


def test_weights_that_are_there_or_come_by_themselves_are_not_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "weights missing" not in shown(sweep(tmp_path, "eval.extractor: inception"), tmp_path)
    kept = tmp_path / "torch/hub/checkpoints/dinov2_vitl14_pretrain.pth"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert "weights missing" not in shown(sweep(tmp_path, DINOV2), tmp_path)


@pytest.mark.parametrize("on_cluster", [False, True])
def test_a_sweep_without_its_weights_does_not_start_here(on_cluster: bool, tmp_path: Path) -> None:
    """A cluster's nodes have files of their own."""
    planned, store = sweep(tmp_path, DINOV2), Store.open(tmp_path / "runs")
    around = Surroundings(tmp_path / "g.yaml", None, on_cluster, force=True)
    plan = whole_plan(planned, store)
    if on_cluster:
        refuse_hopeless(plan, speed_of(planned, {}), around)
        return
    with pytest.raises(UsageError, match="the weights of the extractor dinov2 are missing"):
        refuse_hopeless(plan, speed_of(planned, {}), around)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("eval.metrics: [is]", "is scores the classes that inception tells apart; classifier has none"),
        ("eval.metrics: [sfid]", "sfid reads spatial features, which inception has and classifier has not"),
        (
            "eval.metrics: [kid], eval.num_samples: 500",
            "kid compares subsets of 1,000 images; eval.num_samples is 500",
        ),
        ("eval.metrics: [inception_score]", 'did you mean "is"?'),
    ],
)
def test_a_metric_without_what_it_needs_is_a_fault_of_its_line(
    settings: str, message: str, tmp_path: Path
) -> None:
    text = problems(tmp_path, settings)
    assert message in text
    assert "g.yaml:5" in text


def test_a_smoke_run_leaves_out_what_its_few_images_do_not_serve(tmp_path: Path) -> None:
    settings = "eval.metrics: [is, kid, sfid]"
    whole = sweep(tmp_path, settings, recipe="iddpm_cifar10")
    assert whole.anchor.eval.metrics == ("is", "kid", "sfid")
    small = sweep(tmp_path, settings, recipe="iddpm_cifar10", smoke=True)
    assert small.anchor.eval.extractor == "classifier"
    assert small.anchor.eval.metrics == ()
