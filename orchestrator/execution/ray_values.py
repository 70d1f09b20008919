"""The one kind of value that crosses Ray's border: a dict of plain values, which Ray types no further."""

from typing import Any

RayValues = dict[str, Any]
"""What Ray hands to a trial or worker, or is told by one."""
