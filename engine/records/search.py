"""search.jsonl and search_space.json of a sweep: what a search has proposed, and from which options."""

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter

from engine.records.record import Axes

Proposal = dict[str, int]
"""Dimension of the search -> number of the chosen option."""

SearchSpace = Mapping[str, Sequence[Axes]]
"""Dimension of the search -> its options in order, each the fields that it changes."""

_PROPOSAL = TypeAdapter(Proposal)
_SPACE = TypeAdapter(dict[str, list[Axes]])


def proposal_from_line(line: str) -> Proposal:
    """A line of search.jsonl."""
    return _PROPOSAL.validate_json(line)


def search_space(value: object) -> SearchSpace:
    """The options of a parsed search_space.json, or of a sweep: tuples are lists here, as in JSON."""
    return _SPACE.validate_python(value)
