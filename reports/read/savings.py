"""What a sweep saved by doing once what its points and samplers have in common."""

from reports.formatting import counted, scaled
from reports.read.overview import Overview


def savings(overview: Overview) -> str:
    """One sentence about network evaluations that were saved; "" when none were, or none recorded."""
    known = overview.sweep.manifest.evaluations
    if known is None:
        return ""
    naive = known.naive
    distinct = known.distinct
    done = known.done
    collapsed = known.points > known.cells
    shared = done < distinct
    noun = "sampler" if overview.sweep.results["train_id"].nunique() == 1 else "cell"
    cells = counted(known.cells, noun)
    took = f"took {scaled(done)} network evaluations"
    if collapsed and shared:
        return (
            f"{counted(known.points, 'point')} are {cells}; drawn together they {took}, where "
            f"each alone would have taken {scaled(distinct)} and every point {scaled(naive)}."
        )
    if shared:
        return f"Drawn together, the {cells} {took}, where each alone would have taken {scaled(distinct)}."
    if collapsed and done < naive:
        return (
            f"{counted(known.points, 'point')} are {cells}, which {took}, where every point would have taken "
            f"{scaled(naive)}."
        )
    return ""
