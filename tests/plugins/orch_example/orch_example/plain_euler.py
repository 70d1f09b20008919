"""A sampler: Euler's method once more, under another name."""

from typing import Literal

from engine.samplers.base import Canonical
from engine.samplers.euler import Euler


class PlainEuler(Euler):
    """The loop of [engine.samplers.euler], offered by a package."""

    kind: Literal["plain_euler"] = "plain_euler"  # type: ignore[assignment]

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"Plain Euler {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """A method of its own, so that its cells are not those of Euler."""
        form = super().canonical()
        return Canonical({**form.form, "method": "plain_euler"}, form.reasons)
