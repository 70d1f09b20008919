"""Where a cell's images from a common pass wait until they are measured. Imports no torch."""

SPOOL_FOLDER = "drawn"


def block_path(first: int) -> str:
    """The file of the batch of images that begins with index `first`."""
    return f"{SPOOL_FOLDER}/{first:010d}.safetensors"
