"""The command line: exit codes, words instead of tracebacks,
help with examples, and nothing heavy at the start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli
from orchestrator.grid.recipe import PACKAGED

QUICKSTART = str(PACKAGED / "quickstart.yaml")
COMMANDS = [
    "plan",
    "model",
    "process",
    "toy",
    "sweep",
    "status",
    "why",
    "report",
    "ui",
    "mlflow-sync",
    "schema",
]


@pytest.fixture
def orch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs a command line in a folder of its own: (exit code, output, errors)."""
    for name in ("ORCH_STORAGE", "ORCH_DATA_ROOT", "RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["orch", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        written = capsys.readouterr()
        assert "Traceback" not in written.out + written.err
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, written.out, written.err

    return run


# Mistakes.


@pytest.mark.parametrize("command", ["plan", "sweep", "mlflow-sync"])
def test_a_bad_grid_is_a_message_with_file_line_and_column(orch: Any, command: str) -> None:
    Path("bad.yaml").write_text(Path(QUICKSTART).read_text().replace("model.channels", "model.chanels"))
    code, out, err = orch(command, "bad.yaml")
    assert (code, out) == (2, "")
    assert err.startswith('bad.yaml:11:3 axes.model.chanels: unknown field; did you mean "model.channels"?')
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "missing.yaml"], "missing.yaml: no such file"),
        (["plan", QUICKSTART, "--stroage", "x"], "No such option: --stroage"),
        (["plan"], "Missing argument 'grid'"),
        (["plam", QUICKSTART], "No such command 'plam'"),
        (["status", "nothing"], "no sweep 'nothing' in "),
        (["why", "abc"], "no unit of any sweep in "),
        (["plan", QUICKSTART, "--storage", "nonsense://x"], "cannot use 'nonsense://x' as storage"),
        (["status", "--storage", QUICKSTART], "quickstart.yaml is a file"),
        (["sweep", QUICKSTART, "--storage", f"{QUICKSTART}/runs"], "quickstart.yaml is a file"),
        (["report", "no-such-sweep"], "no-such-sweep"),
        (["ui", "--port", "many"], "Invalid value for '--port'"),
        (["sweep", str(PACKAGED / "edm_stochastic.yaml")], "the data set cifar10 is not there"),
    ],
    ids=lambda value: " ".join(value).replace(str(PACKAGED), "grids") if isinstance(value, list) else None,
)
def test_a_mistake_is_a_message_and_exit_code_2(orch: Any, arguments: list[str], words: str) -> None:
    code, out, err = orch(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_ctrl_c_is_a_message_and_exit_code_130(orch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.console.status_view.show_status", interrupted)
    assert orch("status") == (130, "", "stopped; run the same command to go on\n")


def test_a_bug_of_ours_keeps_its_traceback(orch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("orchestrator.console.status_view.show_status", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        orch("status")


# What works without Ray.


def test_plan_says_what_would_run_and_writes_nothing(orch: Any) -> None:
    code, out, err = orch("plan", QUICKSTART)
    assert (code, err) == (0, "")
    assert "16 points -> 16 cells on 2 trainings; finished: 0 cells, 0 trainings" in out
    assert "time: about " in out
    assert not Path("runs").exists()


def test_plan_of_a_collapsing_grid_says_why_and_what_is_missing(orch: Any) -> None:
    code, out, _ = orch("plan", str(PACKAGED / "edm_stochastic.yaml"))
    assert code == 0
    assert "collapsed: " in out
    assert "s_churn = 0 is Heun" in out or "acts only through steps" in out
    assert "data set missing" in out


def test_plan_of_a_search_counts_its_trials(orch: Any, fake: Any) -> None:
    fake.changed("panel:", "search: {num_trials: 1}\npanel:")
    code, out, _ = orch("plan", "grid.yaml")
    assert code == 0
    assert "a search of 50% of the grid" in out


def test_status_and_why_read_the_storage(orch: Any, finished: Any) -> None:
    assert orch("status", "--storage", str(finished.path))[0] == 0
    code, out, _ = orch("status", "tiny")  # `runs` in the working folder is the default
    assert code == 0
    assert out.count("finished") == 6
    code, out, _ = orch("why", finished.plan().cells[0].cell_id[:8])
    assert code == 0
    assert "not run again" in out


def test_the_storage_comes_from_the_environment_unless_given(
    orch: Any, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished.path.rename(finished.path.parent / "elsewhere")
    monkeypatch.setenv("ORCH_STORAGE", "elsewhere")
    assert "2 / 2" in orch("status")[1]
    assert "no sweeps in" in orch("status", "--storage", "empty")[1]


def test_the_schema_is_json_that_an_editor_understands(orch: Any) -> None:
    code, out, err = orch("schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    assert {"name", "recipe", "varies", "axes"} <= set(schema["properties"])


def test_no_command_is_help(orch: Any) -> None:
    _, out, err = orch()
    assert "Usage: orch" in out + err


def test_help_of_the_whole_lists_every_command_and_an_example(orch: Any) -> None:
    code, out, _ = orch("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert "orch sweep grids/quickstart.yaml" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_an_example_of_it(orch: Any, command: str) -> None:
    code, out, _ = orch(command, "--help")
    assert code == 0
    assert f"Example: orch {command}" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom orchestrator import cli\nsys.argv = ['orch', "
        "'--help']\ntry:\n    cli.main()\nexcept SystemExit:\n    pass\nheavy = "
        "{'torch', 'ray', 'numpy', 'pandas', 'pyarrow', 'mlflow', 'optuna', 'pydantic'} "
        "& set(sys.modules)\nsys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_reader_that_stops_early_causes_no_traceback() -> None:
    """`orch schema | head -1`: the pipe is closed while much is still to be written."""
    code = "import sys; from orchestrator import cli; sys.argv = ['orch', 'schema']; cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in errors


def test_a_relative_data_root_is_made_absolute_for_the_workers(orch: Any, tmp_path: Path) -> None:
    grid = str(Path(__file__).resolve().parents[2] / "grids" / "edm_stochastic.yaml")
    code, _, err = orch("sweep", grid, "--data-root", "pictures")
    assert code == 2
    assert str(Path.cwd() / "pictures") in err


# Other ways in.


def test_the_package_itself_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "Usage: orch" in done.stdout) == (0, True)


def test_an_unusable_plugin_is_reported_in_one_line(orch: Any, tmp_path: Path) -> None:
    """Its metadata is all that an installed package needs for its kinds to be asked for."""
    metadata = tmp_path / "orch_broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: orch-broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[orch.samplers]\nmidpoint = orch_broken:Midpoint\n")
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "plan", QUICKSTART],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{PACKAGED.parent}{os.pathsep}{tmp_path}"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "the installed package orch-broken offers the sampler 'midpoint', which cannot be loaded"
    )
