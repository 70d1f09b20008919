"""The base of every configuration: typed, immutable, and unknown keys are errors."""

from pydantic import BaseModel, ConfigDict

from engine.records.corrections import CORRECTIONS


class Frozen(BaseModel):
    """A strict, immutable pydantic model: no unknown keys, no coerced strings, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @property
    def corrected_parts(self) -> tuple[str, ...]:
        """Parts of the product that this section itself uses and whose results were corrected since 0.4.0
        [engine.records.corrections]. Sections inside answer for themselves."""
        return ()


def part_versions(section: Frozen) -> dict[str, int]:
    """Part -> version of every corrected part that a configuration uses, the sections inside it included."""
    found = {part: CORRECTIONS[part].version for part in section.corrected_parts}
    for name in type(section).model_fields:
        value = getattr(section, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Frozen):
                found |= part_versions(inner)
    return found
