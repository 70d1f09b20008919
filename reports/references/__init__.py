"""Published numbers as data: a CSV file for each table of a paper, every row with its source."""

from pathlib import Path

import pandas as pd


def published_numbers(name: str) -> pd.DataFrame:
    """A published table by the name of its file."""
    return pd.read_csv(Path(__file__).parent / f"{name}.csv")
