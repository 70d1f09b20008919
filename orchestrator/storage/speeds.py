"""The speeds that a storage remembers."""

from engine.records import paths
from engine.records.speed import Speeds, speeds_from_json, speeds_to_json
from orchestrator.storage.store import Store


def read_speeds(store: Store) -> Speeds:
    """What this storage knows; empty before its first finished sweep."""
    return speeds_from_json(store.root.read_json(paths.SPEED))


def write_speeds(store: Store, speeds: Speeds) -> None:
    """Replace what this storage knows."""
    store.root.write_json(paths.SPEED, speeds_to_json(speeds))
