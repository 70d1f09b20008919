"""The `orch` command: one file a command in `commands/`, heavy imports only inside them."""

import sys

import typer

from orchestrator.commands import (
    diagnose,
    mlflow_sync,
    model,
    plan,
    process,
    report,
    schema,
    status,
    sweep,
    toy,
    ui,
    why,
)
from orchestrator.errors import Interrupted, OrchError, UsageError

app = typer.Typer(
    name="orch",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Sweeps for diffusion-model research: a YAML grid in, a report a reviewer can check out.\n\n"
        "[bold]Examples[/bold]\n\n"
        "  orch plan grids/quickstart.yaml    what would run, and what it costs\n\n"
        "  orch sweep grids/quickstart.yaml   run what is missing, then report\n\n"
        "  orch sweep grids/quickstart.yaml --smoke   the same, tiny, in a minute\n\n"
        "  orch status                        all sweeps of this storage"
    ),
)
for module in (plan, model, process, toy, sweep, status, why, diagnose, report, ui, mlflow_sync, schema):
    app.command(name=module.NAME)(module.command)


def main() -> None:
    """Run a command; a user's mistake is a message and an exit code, never a traceback."""
    try:
        code = app(standalone_mode=False, prog_name="orch")
        if code == Interrupted.exit_code:  # what typer makes of Ctrl-C
            raise Interrupted("stopped; run the same command to go on")
    except OrchError as error:
        typer.echo(str(error), err=True)
        code = error.exit_code
    except ImportError as error:
        code = _plugin_error(error)
    except Exception as error:
        code = _click_error(error)
    sys.exit(code if isinstance(code, int) else 0)


def _plugin_error(error: ImportError) -> int:
    """Print what is wrong with an installed package's kind; any other failed import is a bug."""
    from engine.kinds import PluginError  # only now: it would slow every `orch --help` down

    if not isinstance(error, PluginError):
        raise error
    typer.echo(str(error), err=True)
    return UsageError.exit_code


def _click_error(error: Exception) -> int:
    """Print a usage error the way typer would; anything else is a bug and keeps its traceback."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    return int(getattr(error, "exit_code", 2))
