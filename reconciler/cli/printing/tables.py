"""The one door to rich: cleaned sections to text."""

import io
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Column names and rows.
TableBlock = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
Block = TableBlock | tuple[str, ...]

#: More than any table needs: off a terminal nothing is folded or cut.
UNBOUNDED = 100_000

#: Colour repeats what the word says; it is never the only sign.
STYLES = {
    "IN_SYNC": "green",
    "PENDING": "yellow",
    "FAILED": "bold red",
    "REFUSED": "bold red",
    "MISSING": "bold red",
    "ORPHANED": "magenta",
    "ALLOWED": "bold green",
    "DENIED": "bold red",
    "UNKNOWN": "bold yellow",
    "PROBLEM": "bold red",
    "DIFFERS": "bold red",
    "reporting": "green",
    "silent": "bold red",
    "unregistered": "yellow",
    "forgotten": "yellow",
    "resting": "yellow",
    "leaked": "bold red",
    "+": "green",
    "-": "red",
    "?": "yellow",
}


def terminal_width() -> int:
    """Columns of the terminal we print on."""
    return Console().width


def to_text(blocks: Iterable[Block], *, width: int | None, colour: bool) -> str:
    """Blocks with an empty line between them; lines carry no trailing spaces."""
    return "\n".join(_block(block, width=width, colour=colour) for block in blocks)


def _block(block: Block, *, width: int | None, colour: bool) -> str:
    buffer = io.StringIO()
    # rich itself honours NO_COLOR.
    console = Console(
        file=buffer,
        width=width or UNBOUNDED,
        force_terminal=colour,
        color_system="auto" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    if block and isinstance(block[0], tuple):
        columns, rows = block
        console.print(_table(columns, rows))
    else:
        for line in block:
            console.print(_styled(str(line)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column.upper(), style="bold"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table


def _styled(line: str) -> Text:
    text = Text(line)
    first = line.strip().split(" ", 1)[0]
    if first in STYLES:
        start = line.index(first)
        text.stylize(STYLES[first], start, start + len(first))
    return text
