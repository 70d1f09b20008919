"""Stopping on request: running units go on to their next checkpoint, and no other starts."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Draining:
    """A switch that is turned once, when the user asks to stop: running units finish, no other starts."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def drain_on_interrupt(draining: Draining, say: Callable[[str], None]) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM) drains, the second stops at once."""

    # Units are not stopped where they are: between two checkpoints that would throw hours
    # of training away. The next report follows a checkpoint, and there the trial ends.
    def handler(signum: int, frame: Any) -> None:
        if draining.requested:
            raise KeyboardInterrupt
        draining.requested = True
        say("stopping: running units go on to their next checkpoint; Ctrl-C again to stop at once")

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
