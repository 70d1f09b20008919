"""The figures of reports: one file each in this folder."""

from engine.kinds import Kinds, built_in
from reports.figures.base import FigureKind

FIGURES: Kinds[FigureKind] = Kinds("figure", built_in("reports.figures", FigureKind))
