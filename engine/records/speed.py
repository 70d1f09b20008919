"""speed.json of the storage: how fast networks trained and sampled here, for predictions."""

from collections.abc import Mapping

from pydantic import JsonValue, TypeAdapter

from engine.records.record import Record


class KnownSpeed(Record):
    """Multiply-accumulates per second of one data set and model family; None is not known."""

    train: float | None = None
    """Of a training's whole worker group."""
    sample: float | None = None
    """Of one sampling process."""
    forwards: int = 0
    """Forward passes of each network that told the sampling speed; 0 where finished cells told it."""


Speeds = Mapping[str, KnownSpeed]
"""Data set and model family, `cifar10/unet` -> what is known of them."""

_FILE = TypeAdapter(dict[str, KnownSpeed])


def speeds_from_json(value: object) -> Speeds:
    """The speeds of a parsed file, or of None where there is no file yet."""
    return _FILE.validate_python(value or {})


def speeds_to_json(speeds: Speeds) -> dict[str, JsonValue]:
    """A plain JSON object; what is not known is not written."""
    return {key: known.model_dump(mode="json", exclude_defaults=True) for key, known in speeds.items()}
