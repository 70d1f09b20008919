"""Everything that can go wrong, as one tree; `exit_code` is what the command line ends with.

OrchError               1    anything below
├── UsageError          2    the request itself is wrong; nothing was started
│   ├── GridError       2    problems in a grid, recipe or smoke file, all of them at once
│   └── StorageBusy     2    another run is writing the same sweep
├── UnitsFailed         1    some units of work failed; the finished ones are kept
└── Interrupted       130    stopped by the user; the finished units are kept
"""

from collections.abc import Iterable
from dataclasses import dataclass


class OrchError(Exception):
    """Base of every error this tool raises on purpose."""

    exit_code = 1


class UsageError(OrchError):
    """The request is wrong: a bad file, a bad option, a bad combination. Nothing was started."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file; `line` and `column` count from 1 and are None for the file itself."""

    file: str
    line: int | None
    column: int | None
    field: str
    message: str
    allowed: tuple[str, ...] = ()
    suggestion: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        subject = f"{self.field}: " if self.field else ""
        allowed = f"allowed: {', '.join(self.allowed)}" if self.allowed else ""
        head = place if subject else f"{place}:"
        return "; ".join(
            part for part in (f"{head} {subject}{self.message}", allowed, self.suggestion) if part
        )


class GridError(UsageError):
    """What is wrong in a grid file or the files it names: every problem, in the order of the files' lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = tuple(sorted(unique, key=lambda p: (p.file, p.line or 0, p.column or 0)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class StorageBusy(UsageError):
    """Another run holds the sweep's folder."""


class UnitsFailed(OrchError):
    """Some units of work failed. What finished is kept, and running again does the rest."""


class Interrupted(OrchError):
    """Stopped by the user. What finished is kept, and running again does the rest."""

    exit_code = 130
