"""A report as Markdown: plain text first, pictures by relative path."""

import re
from collections.abc import Sequence

from engine.records import paths
from reports.document.compose import Document, Picture
from reports.document.reproducibility import WhatRan
from reports.formatting import counted
from reports.tables.table import Shown, Table

MARKS = {True: "ok", False: "**NOT MET**", None: "unknown"}


def render(document: Document) -> str:
    """The whole report."""
    badges = " · ".join(
        f"**{escape(one.text)}**" if one.tone == "warning" else one.text for one in document.badges
    )
    blocks = [
        f"# {escape(document.title)}",
        f"{escape(document.subtitle)}. Sweep {code(document.sweep)}.",
        escape(" ".join(document.answer)),
        badges,
        *_section("Samples", [_picture(one) for one in document.panels]),
        *_section("Tables", [table_text(table) for table in document.tables]),
        *_section("Figures", [_picture(one) for one in document.figures]),
        *_section("What ran", _what_ran(document.what_ran)),
        *_section("Grid", [fence(document.grid)] if document.grid else []),
        *_section("Limits", ["\n".join(f"- {escape(text)}" for text in document.limits)]),
    ]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text in which nothing is markup: no HTML, links, emphasis or table cells can come out of a name."""
    joined = " ".join(text.split())
    return re.sub(r"([\\`*\[\]<>|~#&]|(?<!\w)_|_(?!\w))", r"\\\1", joined)


def code(text: str) -> str:
    """Text set verbatim in one line, fit for a table cell."""
    return "`" + " ".join(text.replace("`", "'").replace("|", "¦").split()) + "`"


def fence(text: str) -> str:
    """Text set verbatim in lines; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    bars = "`" * max(3, longest + 1)
    return f"{bars}\n{text.rstrip()}\n{bars}"


def table_text(table: Table) -> str:
    """Title, caption and rows of a table; the best value of a column is bold, ids follow in code."""
    header = [escape(column.full_label) for column in table.columns]
    rule = ["---" if column.kind == "text" else "---:" for column in table.columns]
    lines = [header, rule, *([_cell(shown) for shown in row] for row in table.rows)]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    words = [table.caption, *filter(None, [table.note])]
    return f"### {escape(table.title)}\n\n{rows}\n\n{escape(' '.join(words))}"


def _section(title: str, blocks: Sequence[str]) -> list[str]:
    return [f"## {title}", *blocks] if blocks else []


def _cell(shown: Shown) -> str:
    text = f"**{escape(shown.text)}**" if shown.best else escape(shown.text)
    return " ".join(filter(None, [text, escape(shown.interval), code(shown.note) if shown.note else ""]))


def _picture(picture: Picture) -> str:
    ids = f" {code(picture.ids)}" if picture.ids else ""
    words = f"**{escape(picture.title)}.** {escape(picture.caption)}{ids}"
    return f"![{escape(picture.title)}](figures/{picture.name}.png)\n\n{words}"


def _what_ran(ran: WhatRan) -> list[str]:
    blocks = ["Run it again:", fence(ran.command)]
    for facts in ran.facts:
        rows = "\n".join(f"| {escape(term)} | {escape(value)} |" for term, value in facts.items)
        blocks.append(f"### {escape(facts.title)}\n\n| | |\n| --- | --- |\n{rows}")
    if ran.trainings:
        blocks.append(table_text(ran.trainings))
    lines = "\n".join(f"- {MARKS[check.passed]}: {escape(check.text)}" for check in ran.checks)
    blocks.append(f"### Checks\n\n{lines}")
    if ran.failures:
        lines = "\n".join(f"- {code(unit)}: {escape(message)}" for unit, message in ran.failures)
        blocks.append(f"### Failures\n\n{lines}")
    if ran.collapsed:
        more = ran.collapsed_total - len(ran.collapsed)
        lines = "\n".join(f"- {code(cell)}: {escape(reason)}" for cell, reason in ran.collapsed)
        rest = f"\n- and {counted(more, 'cell')} more in {paths.MANIFEST}" if more else ""
        blocks.append(f"### Grid points that are the same cell\n\n{lines}{rest}")
    return blocks
