"""What was corrected in a way that changes results:
part of the identity of what it touches, and of nothing else.

Work that such a correction does not touch keeps its name, so nobody trains again what was right.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Correction:
    """A part of the product whose results changed, once or several times; the last time is told."""

    part: str
    version: int
    """What identities carry; 1 is what 0.4.0 did, and is left out of them."""
    release: str
    """The first version of the product with these results."""
    what: str
    """What was wrong, in words."""

    @property
    def words(self) -> str:
        """A sentence for `orch why`."""
        return f"{self.part} was corrected in {self.release}: {self.what}"


CORRECTIONS: dict[str, Correction] = {
    correction.part: correction
    for correction in (
        Correction(
            "augmentation",
            version=2,
            release="0.5.0",
            what="images were turned, scaled and stretched about a point up to 0.4 pixels off",
        ),
        Correction(
            "bound",
            version=2,
            release="0.5.0",
            what="with covariance analytic or ocm its last term had another variance than beside them",
        ),
    )
}
"""By part. A configuration says which parts it uses: `Frozen.corrected_parts`."""
