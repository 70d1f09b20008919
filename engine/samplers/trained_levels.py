"""Words for samplers that are held to the noise levels a network was shown [playbook 5.3]."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.conflicts import ConfigConflict
from engine.process.schedules import TERMINAL_SIGMA, NoiseRange

if TYPE_CHECKING:
    from engine.samplers.base import NetworkFacts


def held_note(own: NoiseRange, held: NoiseRange) -> str:
    """How a range of noise levels was changed, where it was."""
    changes: list[str] = []
    if held[0] > own[0]:
        changes.append(f"the lowest raised from {own[0]:.3g}")
    if held[1] < own[1]:
        highest = "pure noise" if own[1] >= TERMINAL_SIGMA else f"{own[1]:.3g}"
        changes.append(f"the highest lowered from {highest}")
    words = " and ".join(changes)
    return (
        f"noise levels {held[0]:.3g} to {held[1]:.3g}: {words} to what the network was shown [playbook 5.3]"
    )


def outside(network: "NetworkFacts", place: str, name: str, value: float) -> Iterator[ConfigConflict]:
    """Why the field `name` cannot have this noise level,
    where the network was not shown it [playbook 5.3]."""
    low, high = network.trained_levels
    if low <= value <= high:
        return
    fields = (f"{place}.{name}", f"{place}.kind", "objective.process.kind", "objective.kind")
    reason = (
        f"{name} {value:g} is not among the noise levels that the network was shown, {low:.3g} to {high:.3g}"
    )
    yield fields, f"{reason}; leave it out to keep to them, or set beyond_trained_levels: true [playbook 5.3]"
