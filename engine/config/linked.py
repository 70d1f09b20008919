"""Derived hyper-parameters: values that must follow another when it moves.
Each rule belongs to a kind of network."""

from collections.abc import Mapping

from engine.backbones.linked_rules import LinkedRule
from engine.backbones.registry import BACKBONES


def _all_rules() -> dict[str, LinkedRule]:
    """The rules of all networks, in the order of the networks; relatives share theirs."""
    found: dict[str, LinkedRule] = {}
    for backbone in BACKBONES.values():
        found |= backbone.linked_rules
    return found


LINKED_RULES: Mapping[str, LinkedRule] = _all_rules()
"""Rules that a grid's `linked:` block may name."""
