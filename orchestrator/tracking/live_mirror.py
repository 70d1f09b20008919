"""Mirroring beside a sweep that runs."""

import threading
from collections.abc import Callable

from orchestrator.tracking.mirror import Mirror

MIRROR_SECONDS = 15.0
"""Between two looks at the store."""


class LiveMirror:
    """Mirrors in a thread of the driver, off the critical path. MLflow's errors never stop a sweep."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.error: Exception | None = None
        """What stopped the mirroring; `orch mlflow-sync` does later what was left."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self) -> None:
        """Begin mirroring."""
        self._thread.start()

    def finish(self, status: str) -> None:
        """Stop the thread and mirror the end state."""
        self._stop.set()
        self._thread.join()
        if self.error is None:
            self._guarded(lambda: self.mirror.close(status))

    def _loop(self) -> None:
        self._guarded(self.mirror.open)
        while self.error is None and not self._stop.wait(MIRROR_SECONDS):
            self._guarded(self.mirror.update)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.error = error
