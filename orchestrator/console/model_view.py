"""A network in words and numbers: its name, its size, what a forward pass costs, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from engine.backbones.published import published
from engine.backbones.registry import Model
from engine.backbones.shape import NetShape
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.records.record import JsonObject
from orchestrator.planning.cost import model_cost, network_layers, sampling_cost
from reports.formatting import percent, scaled, value_text

NAMES_SHOWN = 4
"""Networks that a plan calls by their names."""


@dataclass(frozen=True)
class LayerCost:
    """A layer and what it costs."""

    name: str
    params: int
    macs: int


@dataclass(frozen=True)
class Budget:
    """What a DyDiT may execute."""

    flops_ratio: float
    """Share of the FLOPs of attention and MLPs."""
    scales: float
    """Share of the whole network's MACs that attention and MLPs are."""
    macs: int
    """Of a forward pass that meets the budget."""


@dataclass(frozen=True)
class Network:
    """The network of an experiment."""

    title: str
    kind: str
    published: str
    """Its published name, or nothing."""
    note: str
    source: str
    knobs: JsonObject
    resolution: int
    in_channels: int
    out_channels: int
    params: int
    macs: int
    """Multiply-accumulates of one forward pass of one image."""
    flops: int
    """Floating-point operations of it, 2 a multiply-accumulate."""
    budget: Budget | None
    layers: tuple[LayerCost, ...]


def network(experiment: Experiment, title: str) -> Network:
    """The network of an experiment. Raises UsageError when it cannot be built on the data set's images."""
    layers = network_layers(experiment)
    cost = model_cost(experiment)
    shape = net_shape(experiment)
    model = experiment.model
    name = published(model)
    return Network(
        title=title,
        kind=model.kind,
        published=name.name if name else "",
        note=name.note if name else "",
        source=name.source if name else "",
        knobs={field: value for field, value in model.model_dump(mode="json").items() if field != "kind"},
        resolution=shape.resolution,
        in_channels=shape.in_channels,
        out_channels=shape.out_channels,
        params=cost.params,
        macs=cost.macs,
        flops=cost.flops,
        budget=_budget(experiment, shape),
        layers=tuple(LayerCost(layer.name, layer.cost.params, layer.cost.macs) for layer in layers),
    )


def _budget(experiment: Experiment, shape: NetShape) -> Budget | None:
    """What the network is trained to execute of itself; None for one that skips nothing."""
    model = experiment.model
    ratio = model.budget_ratio
    skippable = model.skippable_cost(shape)
    if ratio is None or skippable is None:
        return None
    return Budget(ratio, skippable.macs / model_cost(experiment).macs, sampling_cost(experiment).macs)


def words(found: Network) -> list[str]:
    """A network in a few lines, as console markup."""
    name = f"{found.published} [dim]({found.source})[/dim]" if found.published else f"custom {found.kind}"
    knobs = "  ·  ".join(f"{field} {value_text(value)}" for field, value in found.knobs.items())
    size = f"{found.resolution}x{found.resolution}"
    lines = [
        f"[bold]{escape(found.title)}[/bold]: {name}",
        *filter(None, [found.note]),
        escape(knobs),
        f"images {size}x{found.in_channels} -> {size}x{found.out_channels}",
    ]
    if not found.params:
        return [*lines, f"parameters and MACs: unknown; {found.kind} does not count its layers"]
    lines += [
        f"parameters: {scaled(found.params)} ({found.params:,})",
        f"one forward pass of one image: {scaled(found.macs)} MACs = {scaled(found.flops)} FLOPs "
        "[dim](1 MAC = 2 FLOPs; what P1, DiT and P5 call FLOPs are MACs)[/dim]",
    ]
    return lines + ([_budget_words(found, found.budget)] if found.budget else [])


def _budget_words(found: Network, budget: Budget) -> str:
    return (
        f"at its budget (flops_ratio {budget.flops_ratio:g}): {scaled(budget.macs)} MACs, "
        f"{percent(budget.macs / found.macs)} of a pass that skips nothing "
        f"[dim](attention and MLPs are {percent(budget.scales)} of it and scale with the budget)[/dim]"
    )


def layers_table(found: Network) -> Table:
    """One row a layer, with its shares of the whole, and the sum; no rows where nobody counted them."""
    table = Table(box=None, header_style="bold", show_footer=True, footer_style="bold")
    table.add_column("layer", "total")
    for heading, total in (("parameters", found.params), ("MACs / image", found.macs)):
        table.add_column(heading, f"{total:,}", justify="right")
        table.add_column("%", justify="right")
    for layer in found.layers:
        shares = (f"{100 * layer.params / found.params:.1f}", f"{100 * layer.macs / found.macs:.1f}")
        table.add_row(escape(layer.name), f"{layer.params:,}", shares[0], f"{layer.macs:,}", shares[1])
    return table


def sweep_words(experiments: Sequence[Experiment]) -> str:
    """The networks of a sweep in a line: names, and the ranges of parameters and MACs."""
    names = list(dict.fromkeys(network_name(one.model) or f"custom {one.model.kind}" for one in experiments))
    rest = [f"and {len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    noun = "network" if len(names) == 1 else "networks"
    return f"{noun}: {', '.join([*names[:NAMES_SHOWN], *rest])}; {_size_words(experiments)}"


def _size_words(experiments: Sequence[Experiment]) -> str:
    costs = [model_cost(one) for one in experiments]
    if not all(cost.is_known for cost in costs):
        return "parameters and MACs unknown"
    full = [cost.macs for cost in costs]
    sampled = [sampling_cost(one).macs for one in experiments]
    budget = f" ({_range(sampled)} when sampling within its budget)" if sampled != full else ""
    parameters = _range([cost.params for cost in costs])
    return f"{parameters} parameters, {_range(full)} MACs a forward pass{budget}"


def network_name(model: Model) -> str:
    """The published name of a network, or nothing."""
    found = published(model)
    return found.name if found else ""


def _range(values: Sequence[int]) -> str:
    low, high = scaled(min(values)), scaled(max(values))
    return low if low == high else f"{low} to {high}"
