"""Content hashes: two experiments that would do the same work have the same name, on every machine."""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from engine import ENGINE_VERSION
from engine.backbones.registry import Model
from engine.config.experiment import Experiment
from engine.config.train import Train
from engine.config.weights import canonical_weights
from engine.data.registry import DATASETS
from engine.frozen import Frozen, part_versions
from engine.kinds import origin_of
from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.registry import METRICS
from engine.records.corrections import CORRECTIONS

ID_LENGTH = 16


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits (64 bits) of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:ID_LENGTH]


def non_default_fields(value: Any) -> Any:
    """A configuration without the fields that have their default, as plain data; kinds always stay.

    So a field that is added later, whose default means what was done before, changes no identity.
    """
    if not isinstance(value, BaseModel):
        return [non_default_fields(item) for item in value] if isinstance(value, tuple) else value
    fields = type(value).model_fields
    found = {
        name: non_default_fields(getattr(value, name))
        for name, field in fields.items()
        if name == "kind" or getattr(value, name) != field.get_default(call_default_factory=True)
    }
    return found | package_of(type(value))


def package_of(kind: object) -> dict[str, str]:
    """The package and version that offer a kind, for the identity of what is made with it; nothing of a
    built-in one, whose version is the engine's."""
    origin = origin_of(kind)
    return {"package": origin.package, "version": origin.version} if origin else {}


def packages_of_protocol(experiment: Experiment) -> dict[str, object]:
    """The packages that offer a protocol's extractor and metrics; nothing of built-in ones."""
    rule = experiment.eval
    kinds: dict[str, object] = {f"extractor {rule.extractor}": EXTRACTORS[rule.extractor]}
    kinds |= {f"metric {name}": METRICS[name] for name in rule.metrics}
    found = {name: package_of(kind) for name, kind in kinds.items()}
    packages = {name: package for name, package in found.items() if package}
    return {"packages": packages} if packages else {}


def train_id(experiment: Experiment) -> str:
    """Identity of a training: data, model, objective, train, the training it starts from,
    the engine's version, and those of the corrected parts that it uses."""
    sections = {name: non_default_fields(getattr(experiment, name)) for name in ("data", "objective")}
    sections["data"] = sections["data"] | package_of(DATASETS[experiment.data.name])
    sections |= {
        "model": non_default_fields(canonical_model(experiment)),
        "train": non_default_fields(_weights_of(experiment.train)),
    }
    if (start := experiment.start) is not None:
        sections["start"] = non_default_fields(start.model_copy(update={"train": _weights_of(start.train)}))
    if versions := training_versions(experiment):
        sections["versions"] = versions
    return digest({"engine": ENGINE_VERSION, **sections})


def training_versions(experiment: Experiment) -> dict[str, int]:
    """Version of every corrected part that takes part in a training."""
    sections = (experiment.data, experiment.model, experiment.objective, experiment.train, experiment.start)
    return merged_versions(section for section in sections if section is not None)


def cell_versions(experiment: Experiment) -> dict[str, int]:
    """Version of every corrected part that takes part in sampling and measuring a cell."""
    found = merged_versions((experiment.sample, experiment.eval, experiment.weights))
    for metric in METRICS.values():
        found |= {part: CORRECTIONS[part].version for part in metric.corrected_parts(experiment)}
    return found


def merged_versions(sections: Iterable[Frozen]) -> dict[str, int]:
    """The versions of several sections together."""
    found: dict[str, int] = {}
    for section in sections:
        found |= part_versions(section)
    return found


def canonical_model(experiment: Experiment) -> Model:
    """The one form of all configurations that are the same network for the data set's images."""
    model = experiment.model
    return model.for_images_of(DATASETS[experiment.data.name].resolution)


def _weights_of(train: Train) -> Train:
    """The settings without what changes no weight: checkpointing trades time for memory, bit for bit."""
    return train.model_copy(update={"checkpointing": False})


def protocol_id(experiment: Experiment) -> str:
    """Identity of the evaluation protocol, without seeds; rows that differ in it never share a table."""
    protocol = non_default_fields(experiment.eval.model_copy(update={"sample_seed": 0}))
    data = package_of(DATASETS[experiment.data.name])
    return digest(
        {"data": experiment.data.name, **protocol, **packages_of_protocol(experiment)}
        | ({"data_package": data} if data else {})
    )


def selection_id(experiment: Experiment, training: str) -> str:
    """Identity of a snapshot selection: the training and everything its scores depend on."""
    rule = experiment.eval
    scored_by = [non_default_fields(rule.selection), rule.extractor, rule.batch_size]
    package = package_of(EXTRACTORS[rule.extractor])
    # The protocol says the same of all networks, "what was shown"; the scores depend on what that was.
    held = experiment.selection_sampler
    levels = [held.canonical().form] if held.levels_note else []
    return digest({"training": training, "scored_by": [*scored_by, *([package] if package else []), *levels]})


def cell_id(experiment: Experiment, selection: str) -> str:
    """Identity of a cell: selected snapshot, weights, the sampler's canonical form and the protocol."""
    sampler = experiment.sample.canonical().form
    package = package_of(type(experiment.sample))
    weights = _fields_once(canonical_weights(experiment.weights, experiment.train))
    parts = {
        "selection": selection,
        "weights": weights,
        "sampler": sampler,
        "eval": _fields_once(experiment.eval),
        **packages_of_protocol(experiment),
    }
    if package:
        parts["sampler_package"] = package
    if versions := cell_versions(experiment):
        parts["versions"] = versions
    return digest(parts)


@lru_cache(maxsize=256)
def _fields_once(section: BaseModel) -> Any:
    """`non_default_fields` of a section that many cells share. Callers must not change the value."""
    return non_default_fields(section)
