"""A list of kinds takes what an installed package offers,
and says in words what is wrong with what is none."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from engine import kinds
from engine.kinds import Kinds, Origin, PluginError, origin_of
from engine.samplers.base import SamplerBase
from engine.samplers.euler import Euler

MINE = SimpleNamespace(name="mine")


class Unfinished(SamplerBase):
    """A sampler that forgets everything but its name."""

    kind: Literal["mine"] = "mine"


class Nameless(Euler):
    """A sampler under a name that its entry point does not have."""

    kind: Literal["other"] = "other"  # type: ignore[assignment]


class Complete(Euler):
    """A sampler that could be a package's."""

    kind: Literal["mine"] = "mine"  # type: ignore[assignment]


def offered(monkeypatch: pytest.MonkeyPatch, *found: object, base: type = SamplerBase) -> Kinds[Any]:
    """A list without kinds of its own, and one package each that offers one of `found` as `mine`."""

    def entry(number: int, kind: object) -> Any:
        dist = SimpleNamespace(name=f"orch-{number}", version="1.0")
        return SimpleNamespace(name="mine", module="m", dist=dist, load=lambda: kind)

    entries = [entry(number, kind) for number, kind in enumerate(found)]
    monkeypatch.setattr(kinds, "_entries", lambda group: entries)
    return Kinds("sampler", [], group="orch.samplers", base=base)


def test_a_packages_kind_is_taken_with_its_package_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(monkeypatch, Complete)["mine"] is Complete
    assert origin_of(Complete) == Origin("orch-0", "1.0")


@pytest.mark.parametrize(
    ("kind", "base", "words"),
    [
        (MINE, SamplerBase, "is no subclass of engine.samplers.base.SamplerBase"),
        (dict, SamplerBase, "is no subclass of engine.samplers.base.SamplerBase"),
        (SamplerBase, SamplerBase, "has no field kind"),
        (Unfinished, SamplerBase, "leaves out canonical, evaluations, label, program"),
        (Nameless, SamplerBase, "calls itself 'other': the entry point must have the kind's own name"),
        (EntryPoint, kinds.Origin, "is no object of engine.kinds.Origin"),
    ],
)
def test_what_is_no_kind_is_refused_with_its_package(
    kind: object, base: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        PluginError, match=f"the installed package orch-0 offers the sampler 'mine', which {words}"
    ):
        offered(monkeypatch, kind, base=base)


def test_two_packages_with_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        PluginError, match=r"package orch-1 offers .* one of that name already, of the package orch-0"
    ):
        offered(monkeypatch, Complete, Euler)


def test_a_group_that_nobody_reads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slip = EntryPoint(name="midpoint", value="orch_midpoint:Midpoint", group="orch.sampler")
    found = SimpleNamespace(groups={"console_scripts", "orch.sampler"}, select=lambda group: [slip])
    monkeypatch.setattr(kinds, "entry_points", lambda: found)
    with pytest.raises(
        PluginError, match=r"offers 'midpoint' under orch\.sampler, .*; there are: orch\.samplers, "
    ):
        kinds._all_entries.__wrapped__()
