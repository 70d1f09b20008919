"""The Ray cluster that a user asks for: its address, its token, and whether its nodes see the storage."""

import os
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.storage.store import Store


def cluster_address(address: str | None) -> str | None:
    """The cluster asked for: the option, else RAY_ADDRESS; None is this machine."""
    return address or os.environ.get("RAY_ADDRESS") or None


def use_cluster_token() -> None:
    """Show the cluster's token when this user has one; left alone, Ray sends none and is turned away."""
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if known or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_shared_storage(ray: Any, store: Store) -> None:
    """UsageError when a node of the cluster does not see the local path where results are written."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if store.local_path is None or len(nodes) < 2:
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = f".node-check-{os.getpid()}"
    store.root.write(token, b"")
    probe = ray.remote(num_cpus=0)(os.path.exists)
    try:
        strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        path = str(store.local_path / token)
        sees = ray.get(
            [probe.options(scheduling_strategy=there).remote(path) for there in strategies], timeout=60
        )
        blind = {node["NodeManagerHostname"] for node, answer in zip(nodes, sees, strict=True) if not answer}
    finally:
        store.root.delete(token)
    if blind:
        raise UsageError(
            f"{store.uri} is not shared: {', '.join(sorted(blind))} cannot see it; "
            "use a path on shared storage or a URI such as s3://..."
        )
