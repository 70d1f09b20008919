"""What a grid gives twice, and lists that move together and differ in length."""

from collections.abc import Hashable, Iterable, Iterator

from orchestrator.grid.entries import Role, alternatives, entries
from orchestrator.grid.file import Grid
from orchestrator.grid.yaml_source import Fault, KeyPath


def zip_length_faults(grid: Grid) -> Iterator[Fault]:
    """Groups of `zip` whose lists are not equally long."""
    for index, group in enumerate(grid.zip):
        lengths = {field: len(values) for field, values in group.items()}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{field} has {length}" for field, length in lengths.items())
            yield Fault(("zip", index), f"lists that move together must be equally long: {text}")


def repeated_value_faults(grid: Grid) -> Iterator[Fault]:
    """Values, rows, points and seeds that are given twice in one place."""
    for entry in entries(grid):
        if entry.role is Role.VARIED and entry.path[0] in ("axes", "when"):
            yield from _repeats(entry.values)
    for index, group in enumerate(grid.zip):
        rows = zip(*group.values(), strict=False)
        first = next(iter(group))
        yield from _repeats((("zip", index, first, row), values) for row, values in enumerate(rows))
    for name in ("points", "exclude"):
        yield from _repeats(
            ((name, i), frozenset(point.items())) for i, point in enumerate(getattr(grid, name))
        )
    yield from _repeats(alternatives(grid.seeds.train, ("seeds", "train")))
    yield from _repeats(alternatives(grid.seeds.sample, ("seeds", "sample")))


def _repeats(values: Iterable[tuple[KeyPath, Hashable]]) -> Iterator[Fault]:
    seen = set()
    for path, value in values:
        if value in seen:
            yield Fault(path, "given twice")
        seen.add(value)


def field_given_twice_faults(grid: Grid) -> Iterator[Fault]:
    """A field varies in one place only; all entries of `points` are one place, and so are those of `when`."""
    homes: dict[str, KeyPath] = {}
    varied = [(entry.field, entry.path) for entry in entries(grid) if entry.role is Role.VARIED]
    for field, path in [*varied, *((field, ("linked", field)) for field in grid.linked)]:
        first = homes.setdefault(field, path)
        same_place = first[0] == path[0] and path[0] in ("points", "when")
        if first != path and not same_place:
            yield Fault(path, f"already given under {first[0]}", about_key=True)
