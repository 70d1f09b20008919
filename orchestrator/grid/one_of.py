"""A field that holds the name of a kind whose list is too heavy to load before it is needed."""

from dataclasses import dataclass
from importlib import import_module

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True)
class OneOf:
    """Marks a text as one of the names in a list that a module holds; messages are those of a `Literal`.

    Tables and figures need pandas and matplotlib, which a plan must not load. So their list is read when a
    grid names one of them, or for the schema, and not when this type is made.
    """

    module: str
    list_name: str

    def names(self) -> tuple[str, ...]:
        """The names, in the order of the list."""
        return tuple(getattr(import_module(self.module), self.list_name))

    def check(self, name: str) -> str:
        """The name itself; raises the error of a `Literal` when the list does not have it."""
        if name in self.names():
            return name
        expected = ", ".join(f"'{known}'" for known in self.names())
        raise PydanticKnownError("literal_error", {"expected": expected})

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after the value is known to be text."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The names as an enumeration."""
        return {"type": "string", "enum": list(self.names())}
