"""What generated images are compared with."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from engine.data.datasets import ImageSet
from engine.files import Files, pack, unpack
from engine.metrics.features import FeatureExtractor
from engine.metrics.frechet import FeatureStats, Gaussian, frechet_distance
from engine.metrics.precision_recall import Manifold
from engine.records import paths

REFERENCE_FILE = paths.REFERENCE_STATISTICS
LARGE_SET = 20_000
MANIFOLD_SIZE = 10_000
"""In sets of more than LARGE_SET images the first 10,000 span the real manifold, as in ADM's protocol."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A training set under one extractor: statistics of all
    its images, not flipped, and manifold features [N, d]."""

    stats: FeatureStats
    features: Tensor
    id: str
    """Hash of what it is made of: data set, extractor and its weights."""
    manifolds: dict[int, Manifold] = field(default_factory=dict, repr=False)
    """Those made so far, by k."""
    files: Files | None = None
    """Where more is kept that is worked out of the training set."""
    gaussians: dict[str, Gaussian] = field(default_factory=dict, repr=False)
    """Those of other features of the extractor's network, by name."""
    parts: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """Features of chosen images, by name."""

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the whole set. One object, so that its factor is computed once for all cells."""
        return self.stats.gaussian

    def manifold(self, k: int) -> Manifold:
        """The manifold of the features with k neighbours, computed once for all cells."""
        if k not in self.manifolds:
            self.manifolds[k] = Manifold.of(self.features, k)
        return self.manifolds[k]

    def gaussian_in(self, space: str, make: Callable[[], FeatureStats]) -> Gaussian:
        """The Gaussian of the whole set in another space of the network;
        `make` gives it where it is not kept."""
        if space not in self.gaussians:
            kept = self._kept(space, lambda: make().to_arrays())
            self.gaussians[space] = FeatureStats.from_arrays(kept).gaussian
        return self.gaussians[space]

    def part(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Features of chosen images [N, d]; `make` gives them where they are not kept under that name."""
        if name not in self.parts:
            self.parts[name] = self._kept(name, lambda: {"features": make()})["features"]
        return self.parts[name]

    def _kept(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors from a file of that name, or made and written there;
        one of another reference is replaced."""
        file = paths.reference_part(name)
        data = self.files.read(file) if self.files else None
        if data is not None:
            arrays, metadata = unpack(data)
            if metadata["id"] == self.id:
                return arrays
        made = make()
        if self.files:
            self.files.write(file, pack(made, {"id": self.id}))
        return made


def reference_id(extractor: FeatureExtractor, images: ImageSet) -> str:
    """Identity of a data set's reference under an extractor."""
    return hashlib.sha256(f"{images.sha256} {extractor.name} {extractor.sha256}".encode()).hexdigest()


def load_reference(extractor: FeatureExtractor, images: ImageSet, *, files: Files) -> Reference:
    """The reference of the whole training set, computed once and then read from `files`.

    A stored one of another data set or of other weights is replaced.
    """
    identity = reference_id(extractor, images)
    data = files.read(REFERENCE_FILE)
    if data is not None:
        arrays, metadata = unpack(data)
        if metadata["id"] == identity:
            return Reference(FeatureStats.from_arrays(arrays), arrays["features"], identity, files=files)
    features = extractor(images.images)
    stats = FeatureStats.of(features)
    manifold = features[:MANIFOLD_SIZE] if len(features) > LARGE_SET else features
    files.write(REFERENCE_FILE, pack({**stats.to_arrays(), "features": manifold}, {"id": identity}))
    return Reference(stats, manifold, identity, files=files)


def distance(extractor: FeatureExtractor, reference: Reference, images: Tensor) -> float:
    """Frechet distance alone: what snapshot selection ranks by."""
    return frechet_distance(reference.gaussian, FeatureStats.of(extractor(images)).gaussian)
