"""Sample grids of cells, read from the storage and never from outside it."""

from pathlib import Path

from reports.errors import ReportError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_panel(storage: Path, relative: str) -> bytes | None:
    """Bytes of a sample grid; None when it is gone. Raises ReportError for a path that leaves the storage."""
    path = (storage / relative).resolve()
    if not path.is_relative_to(storage.resolve()):
        raise ReportError(f"results.parquet names the sample grid {relative!r}, which lies outside {storage}")
    if not path.is_file():
        return None
    data = path.read_bytes()
    if not data.startswith(PNG_SIGNATURE):
        raise ReportError(f"{path} is not a PNG file")
    return data
