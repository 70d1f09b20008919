"""attempts.jsonl: a line for each thing that happened to a unit."""

import json

from engine.records.record import Record


class Attempt(Record):
    """One event. An object store cannot append, so lines are few: a unit began, ended or failed."""

    time: str
    """UTC, ISO 8601."""
    unit: str
    kind: str
    """ "train", "sample" or "draw", a shared run's."""
    state: str
    """ "started", "done", "stopped" or "failed"."""
    seconds: float | None = None
    message: str | None = None

    def to_line(self) -> str:
        """The line, without what is not known."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True))
