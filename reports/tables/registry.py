"""The tables there are: one file each in this folder, and those of installed packages."""

from engine.kinds import Kinds, built_in
from reports.tables.base import TableKind

TABLES: Kinds[TableKind] = Kinds(
    "table", built_in("reports.tables", TableKind), group="orch.tables", base=TableKind
)
