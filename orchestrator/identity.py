"""Content hashes: two experiments that would do the same work have the same name, on every machine."""

import hashlib
import json
from typing import Any

from engine import ENGINE_VERSION
from engine.spec import Experiment

ID_LENGTH = 16


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits (64 bits) of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:ID_LENGTH]


def train_id(experiment: Experiment) -> str:
    """Identity of a training: data, model, objective, train and the engine's version."""
    sections = {
        name: getattr(experiment, name).model_dump(mode="json") for name in ("data", "model", "objective", "train")
    }
    return digest({"engine": ENGINE_VERSION, **sections})


def protocol_id(experiment: Experiment) -> str:
    """Identity of the evaluation protocol; rows that differ in it never share a table. Seeds are not part of it."""
    return digest({"data": experiment.data.name, **experiment.eval.model_dump(mode="json", exclude={"sample_seed"})})


def selection_id(experiment: Experiment, training: str) -> str:
    """Identity of a snapshot selection: the training and everything its scores depend on."""
    rule = experiment.eval.model_dump(mode="json", include={"selection", "extractor", "batch_size"})
    return digest({"training": training, **rule})


def cell_id(experiment: Experiment, selection: str) -> str:
    """Identity of a cell: the selected snapshot, the sampler's canonical form and the evaluation protocol."""
    protocol = experiment.eval.model_dump(mode="json")
    return digest({"selection": selection, "sampler": experiment.sample.canonical().form, "eval": protocol})
