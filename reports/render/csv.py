"""Tables as CSV and Parquet: raw values under plain column names."""

from typing import Any

import pandas as pd

RISKY = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet run a cell as a formula."""


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV in which no cell and no header can act as a formula; numbers stay as they are."""
    safe = frame.rename(columns=harmless).map(harmless)
    return safe.to_csv(index=False, lineterminator="\n")


def harmless(value: Any) -> Any:
    """Text that a spreadsheet would run gets an apostrophe in front; numbers, written as text too, do not."""
    if not isinstance(value, str) or not value.startswith(RISKY) or _is_number(value):
        return value
    return "'" + value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
