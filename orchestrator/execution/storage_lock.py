"""One driver a storage."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import StorageBusy, UsageError
from orchestrator.storage.store import Store


@contextmanager
def storage_lock(store: Store) -> Iterator[None]:
    """Hold the storage for this driver; the system releases it even after kill -9.

    Remote storage cannot be locked this way: there, one driver at a time is the user's promise.
    Raises StorageBusy when another driver works on the same storage, UsageError when it cannot be written to.
    """
    if store.local_path is None:
        yield
        return
    try:
        store.local_path.mkdir(parents=True, exist_ok=True)
        # Opened for appending: truncating here would wipe the name of the driver that holds the lock.
        handle = (store.local_path / ".lock").open("a+")
    except OSError as error:
        raise UsageError(f"cannot write to {store.uri}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise StorageBusy(
                f"{store.uri} is in use by another orch sweep (process {owner}); wait for it or use --storage"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
