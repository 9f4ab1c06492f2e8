"""The story's tables, rendered for a terminal or for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from demo.stories.matrix import Cell, Pair, Sender, Task, is_open
from demo.stories.rest import Json
from demo.stories.scene import Actor

#: Where nobody watches, lines are as long as the matrices need.
FILE_WIDTH = 140
PAIR = "pair"
STYLE_BY_CELL = {
    Cell.OPEN: "green",
    Cell.CLOSED: "dim",
    Cell.LEAK: "bold white on red",
    Cell.BROKEN: "bold red",
}


def make_console() -> Console:
    """Standard output: coloured on a terminal only, never wrapped in a file."""
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, width=FILE_WIDTH)


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count} times"


def counted(count: int, noun: str) -> str:
    """How many of something."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def render_tasks(actors: Sequence[Actor], reachable: Mapping[str, float]) -> RenderableType:
    """Who runs where, and how long it took from a task's start until its host reached it."""
    table = _table("task", "host", "address", "groups", "verdict", "reachable after")
    for actor in sorted(actors, key=lambda actor: actor.task.name):
        seconds = reachable.get(actor.task_id)
        table.add_row(
            actor.task.name,
            actor.task.host,
            actor.address or "none",
            " ".join(actor.task.groups) or "none",
            f"{actor.verdict} {actor.reason}".strip(),
            "" if seconds is None else f"{seconds * 1000:.0f} ms",
        )
    return table


def render_places(actors: Sequence[Actor]) -> RenderableType:
    """Who runs where, on which port of the host."""
    table = _table("task", "host", "address")
    for actor in sorted(actors, key=lambda actor: actor.task.name):
        ports = ",".join(map(str, actor.task.ports))
        table.add_row(actor.task.name, actor.task.host, f"{actor.kernel_address}:{ports}")
    return table


def render_waiting(rows: Sequence[Json]) -> list[str]:
    """A line for each app that waits, by Marathon's own word on why."""
    lines = []
    for row in rows:
        declined = declined_offers(row)
        why = ", ".join(
            f"{counted(count, 'offer')} declined: {reason}" for reason, count in declined.items()
        )
        lines.append(f"{row['app']['id']} waits in /v2/queue{': ' if why else ''}{why}")
    return lines


def declined_offers(row: Json) -> Mapping[str, int]:
    """How often which reason kept an app from taking what hosts offered, from 1.4 on."""
    reasons = (row.get("processedOffersSummary") or {}).get("rejectSummaryLastOffers") or ()
    return {each["reason"]: each["declined"] for each in reasons if each["declined"]}


def render_matrix(
    senders: Sequence[Sender], targets: Sequence[Task], cells: Mapping[Pair, Cell]
) -> RenderableType:
    """What was measured, and beside it what the groups call for."""
    ordered = sorted(targets, key=lambda task: task.name)
    measured = _table("measured", *(task.name for task in ordered))
    wanted = _table("called for", *(task.name for task in ordered))
    by_ends = {(pair.source, pair.target): (pair, cell) for pair, cell in cells.items()}
    for sender in sorted(senders, key=_hosts_last):
        words, calls = [], []
        for task in ordered:
            found = by_ends.get((sender.name, task.name))
            if found is None:
                words.append(Text("-", style="dim"))
                calls.append("-")
                continue
            pair, cell = found
            words.append(Text(str(cell), style=STYLE_BY_CELL[cell]))
            calls.append("open" if is_open(sender, task, pair.port) else "closed")
        measured.add_row(sender.name, *words)
        wanted.add_row(sender.name, *calls)
    return Columns([measured, wanted], padding=(0, 4))


def summarize(cells: Mapping[Pair, Cell]) -> str:
    """One line about a matrix."""
    right = sum(cell.ok for cell in cells.values())
    if right == len(cells):
        return (
            f"the one {PAIR} as called for" if right == 1 else f"all {right} {PAIR}s as called for"
        )
    leaks = sum(cell is Cell.LEAK for cell in cells.values())
    broken = len(cells) - right - leaks
    return f"{right} of {counted(len(cells), PAIR)} right, {leaks} LEAK, {broken} BROKEN"


def list_wrong(cells: Mapping[Pair, Cell]) -> list[str]:
    """A line for each pair that is not as the groups call for."""
    return [
        f"{cell}: {pair.source} -> {pair.target}:{pair.port}"
        for pair, cell in cells.items()
        if not cell.ok
    ]


def _hosts_last(sender: Sender) -> tuple[bool, str]:
    return (not isinstance(sender, Task), sender.name)


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table
