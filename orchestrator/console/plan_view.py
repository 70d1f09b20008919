"""How a plan looks on a terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.config.choices import choice_lines, choices_of
from engine.config.experiment import Experiment
from engine.data.catalog import missing_files
from engine.data.registry import DATASETS
from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.names import lacks_rank
from orchestrator.console.model_view import sweep_words
from orchestrator.console.sharing_view import sharing_lines
from orchestrator.formatting import clock
from orchestrator.planning.cost import model_cost, selection_nfe, training_macs
from orchestrator.planning.duration import is_predictable, plan_seconds, search_share, trained_share
from orchestrator.planning.machine import place_for
from orchestrator.planning.memory import largest_memory, largest_shared_run, memory_words, shortage
from orchestrator.planning.noise_levels import level_notes
from orchestrator.planning.plan import Plan
from orchestrator.planning.preflight import absent_weights
from orchestrator.planning.speed import Speed
from reports.formatting import counted

MAX_ROWS = 20
MAX_NOTES = 8
UNKNOWN = "unknown"
"""Said of what a network's kind does not count."""
STATES = {"cached": "finished", "select": "choose snapshot", "train": "train"}


def show_plan(plan: Plan, speed: Speed, data_root: Path | None, console: Console) -> None:
    """Counts first, then trainings, cells, what collapsed, and the cost."""
    sweep = plan.sweep
    smoke = ", [yellow]smoke[/yellow]" if sweep.smoke else ""
    console.print(
        f"[bold]{sweep.grid.name}[/bold]: recipe {sweep.grid.recipe}, varies {sweep.grid.varies}{smoke}",
        highlight=False,
    )
    console.print(
        f"{counted(plan.num_points, 'point')} -> {counted(len(plan.cells), 'cell')} "
        f"on {counted(len(plan.trainings), 'training')}; "
        f"finished: {counted(len(plan.cells) - len(plan.missing_cells), 'cell')}, "
        f"{counted(len(plan.trainings) - len(plan.missing_trainings), 'training')}",
        highlight=False,
    )
    console.print(sweep_words([unit.experiment for unit in plan.trainings]), highlight=False, markup=False)
    console.print(trainings_table(plan))
    console.print(cells_table(plan))
    for note in level_notes(plan)[:MAX_NOTES]:
        console.print(note, highlight=False, markup=False)
    show_collapsed(plan, console)
    show_choices(plan, console)
    show_cost(plan, speed, console)
    show_memory(plan, console)
    show_few_images(plan.sweep.anchor, console)
    if lacking := absent_weights(plan.sweep):
        console.print(f"[yellow]weights missing[/yellow]: {lacking}", highlight=False)
    absent = missing_files(plan.sweep.anchor.data.name, data_root)
    if absent:
        console.print(
            f"[yellow]data set missing[/yellow]: {', '.join(absent[:3])}; give --data-root, or try --smoke",
            highlight=False,
        )


def trainings_table(plan: Plan) -> Table:
    """One row a training: identity, what is varied, size, length, state."""
    table = Table(
        "training", "varied", "parameters", "GMAC / image", "kimg", "to do", box=None, header_style="bold"
    )
    for unit in plan.trainings[:MAX_ROWS]:
        cost = model_cost(unit.experiment)
        state = plan.training_state(unit)
        values = (
            f"{cost.params:,}" if cost.is_known else UNKNOWN,
            f"{cost.macs / 1e9:.3g}" if cost.is_known else UNKNOWN,
            f"{unit.experiment.train.total_kimg:,g}",
            STATES[state],
        )
        table.add_row(unit.train_id[:8], unit.label, *values)
    _more(table, len(plan.trainings))
    return table


def cells_table(plan: Plan) -> Table:
    """One row a cell: identity, sampler, evaluations per image, the points it stands for, state."""
    table = Table("cell", "sampler", "NFE", "points", "to do", box=None, header_style="bold")
    for cell in plan.cells[:MAX_ROWS]:
        state = "finished" if cell.done_file in plan.finished else "sample"
        table.add_row(
            cell.cell_id[:8], cell.label, str(cell.experiment.sample.nfe), str(len(cell.points)), state
        )
    _more(table, len(plan.cells))
    return table


def show_collapsed(plan: Plan, console: Console) -> None:
    """Why there are fewer cells than points, each reason once with how often it holds."""
    if not plan.num_collapsed:
        return
    counts: dict[str, int] = {}
    for cell in plan.cells:
        for reason in cell.reasons:
            counts[reason] = counts.get(reason, 0) + len(cell.points) - 1
    console.print(f"collapsed: {plan.num_collapsed} points are the same work as another", highlight=False)
    for reason, count in sorted(counts.items(), key=lambda item: -item[1])[:8]:
        console.print(f"  {count:6,}  {reason}", highlight=False, markup=False)
    for field in plan.idle_axes:
        console.print(f"[yellow]warning:[/yellow] axis {field} changes nothing in this grid", highlight=False)


def show_choices(plan: Plan, console: Console) -> None:
    """Every named choice of the sweep, section by section: what decides a number beside the numbers."""
    console.print("chosen, defaults too:", highlight=False)
    for section, words in choice_lines(choices_of(cell.experiment for cell in plan.cells)).items():
        console.print(f"  [bold]{section}[/bold]: {escape(words)}", highlight=False, soft_wrap=True)


def show_cost(plan: Plan, speed: Speed, console: Console) -> None:
    """Multiply-accumulates, network evaluations and time of what is missing."""
    place = place_for(plan.sweep.grid.resources)
    to_train = [unit for unit in plan.missing_trainings if plan.training_state(unit) == "train"]
    evaluations = sum(group.evaluations for group in plan.missing_groups)
    evaluations += sum(map(selection_nfe, plan.missing_trainings))
    share = search_share(plan.sweep)
    if plan.sweep.is_search:
        console.print(
            f"a search of {share:.0%} of the grid; below is what that costs on average", highlight=False
        )
    for line in sharing_lines(plan.missing_cells, plan.spool_batches):
        console.print(line, highlight=False)
    training = f"{UNKNOWN} MAC"
    time = UNKNOWN
    if is_predictable(plan):
        training = f"{trained_share(plan.sweep) * sum(map(training_macs, to_train)):.3g} MAC"
        time = f"about {clock(plan_seconds(plan, speed, place.slots))}"
    console.print(
        f"to do: training {training}, sampling {share * evaluations:,.0f} network evaluations\n"
        f"time: {time} on {place.words} ({speed.basis})",
        highlight=False,
    )


def show_memory(plan: Plan, console: Console) -> None:
    """What a worker of the largest training and shared run holds; a warning for too small a GPU."""
    memory = largest_memory(plan)
    in_shared_run = largest_shared_run(plan)
    if in_shared_run is not None:
        console.print(
            f"memory per worker in a common pass, at most: {memory_words(in_shared_run)}", highlight=False
        )
    if memory is None:
        if any(plan.training_state(unit) == "train" for unit in plan.missing_trainings):
            console.print(f"memory per worker: {UNKNOWN}", highlight=False)
        return
    console.print(f"memory per worker: {memory_words(memory)}", highlight=False)
    warning = shortage(memory, plan.sweep.grid.resources.gpus_per_worker)
    if warning:
        console.print(f"[yellow]not enough memory[/yellow]: {warning}", highlight=False)


def show_few_images(experiment: Experiment, console: Console) -> None:
    """A warning when distances are taken from too few images for the features' covariance."""
    rule = experiment.eval
    dims = EXTRACTORS[experiment.eval.extractor].dims
    counts = {
        "eval.num_samples": rule.num_samples,
        "eval.selection.num_samples": rule.selection.num_samples,
        f"images of {experiment.data.name}": DATASETS[experiment.data.name].num_images,
    }
    few = [f"{name} = {count:,}" for name, count in counts.items() if lacks_rank(count, dims)]
    if few:
        console.print(
            f"[yellow]few images[/yellow]: {', '.join(few)}, but {rule.extractor} "
            f"features have {dims:,} dimensions: without more images than that a "
            "covariance lacks rank and distances are biased upwards",
            highlight=False,
        )


def _more(table: Table, total: int) -> None:
    if total > MAX_ROWS:
        table.add_row("...", f"and {total - MAX_ROWS:,} more")
