"""Answers as values, and their three printed forms.

Strings in an answer come from users, Marathon and etcd. They are kept whole in
JSON and YAML, which escape them, and lose what a terminal would obey in tables.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

import yaml

from reconciler.cli.printing import tables

LONGEST_CELL = 400
UNKNOWN_AGE = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; a table without rows is not printed."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Sentences, one per line."""

    lines: tuple[str, ...]


Section = Table | Lines


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: `data` for machines, `sections` for people, its exit code.

    `note` is talk for stderr, when there is nothing to print.
    """

    data: object
    sections: tuple[Section, ...]
    exit_code: int = 0
    note: str = ""


def clean(text: str) -> str:
    """Foreign text for a terminal: no control, format or bidi characters, not endless."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown if len(shown) <= LONGEST_CELL else shown[: LONGEST_CELL - 1] + "…"


def joined(parts: Iterable[object], empty: str = "-") -> str:
    """Several values in one cell."""
    return ", ".join(str(part) for part in parts) or empty


def parse_moment(text: str) -> datetime | None:
    """An RFC 3339 time; None if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def age(since: str, now: datetime) -> str:
    """How long ago, in at most two units; a clock that is ahead counts as now."""
    moment = parse_moment(since)
    if moment is None:
        return UNKNOWN_AGE
    seconds = max(0, int((now - moment).total_seconds()))
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{seconds}s"


def render(answer: Answer, output: str, *, width: int | None, colour: bool) -> str:
    """The printed form; `width` None is as wide as it takes."""
    if output == "json":
        return json.dumps(answer.data, indent=2) + "\n"
    if output == "yaml":
        return yaml.safe_dump(answer.data, sort_keys=False, width=1000)
    return tables.to_text(_cleaned(answer.sections), width=width, colour=colour)


def write(answer: Answer, output: str, stream: TextIO) -> None:
    """Print an answer; colour and folding only on a terminal."""
    terminal = stream.isatty()
    width = tables.terminal_width() if terminal else None
    text = render(answer, output, width=width, colour=terminal)
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _cleaned(sections: Iterable[Section]) -> tuple[tables.Block, ...]:
    blocks: list[tables.Block] = []
    for section in sections:
        match section:
            case Table(columns, rows) if rows:
                cells = [tuple(clean(cell) for cell in row) for row in rows]
                blocks.append((columns, tuple(cells)))
            case Lines(lines) if lines:
                blocks.append(tuple(clean(line) for line in lines))
            case _:
                continue
    return tuple(blocks)
