"""What all records share: frozen, typed, and read from files of any earlier version."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, model_validator


def _plain(value: Any) -> Any:
    """A value as JSON would give it back: configurations have tuples where JSON has lists."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


JsonObject = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
"""A JSON object whose keys only its owner knows, such as an experiment's sections."""

Axes = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
"""Dotted field -> its value at one point of a grid."""


class Record(BaseModel):
    """Something that is written as a JSON object and read again, perhaps by another version.

    A field that an earlier version did not write has a default; so has one that is null. What this version
    does not know is kept and written again. Only a field without a default can be missing: ValidationError,
    which is a ValueError.
    """

    model_config = ConfigDict(frozen=True, extra="allow", validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_unwritten(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        optional = {
            field.alias or name for name, field in cls.model_fields.items() if not field.is_required()
        }
        return {key: part for key, part in value.items() if part is not None or key not in optional}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The record of a parsed JSON object."""
        return cls.model_validate(value)

    def to_json(self) -> JsonObject:
        """A plain JSON object, with every field."""
        return self.model_dump(mode="json", by_alias=True)
