"""mirrored.json of a sweep: what MLflow holds of it when it equals the store."""

from engine.records.record import Record


class Mirrored(Record):
    """The finished cells that were mirrored."""

    cells: tuple[str, ...] = ()
    """Their ids, sorted."""
