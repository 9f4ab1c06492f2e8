"""Who should reach whom, from the groups alone, and how a measurement compares.

It knows nothing of the product: it restates the rules of group isolation, so
that a mistake there cannot hide here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PUBLIC = "public"


class Outcome(enum.StrEnum):
    """What became of one attempt to connect."""

    CONNECTED = "connected"
    REFUSED = "refused"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    GONE = "gone"

    @property
    def arrived(self) -> bool:
        """True if the destination itself answered, be it with a refusal."""
        return self in (Outcome.CONNECTED, Outcome.REFUSED)


class Cell(enum.StrEnum):
    """One measured pair beside what the groups call for."""

    OPEN = "ok-open"
    CLOSED = "ok-closed"
    LEAK = "LEAK"
    BROKEN = "BROKEN"

    @property
    def ok(self) -> bool:
        """True if the kernel does what the groups call for."""
        return self in (Cell.OPEN, Cell.CLOSED)


@dataclass(frozen=True, slots=True)
class Host:
    """A sender that is no task; `trusted` ones may reach every declared port."""

    name: str
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its app describes it: name, host, groups in its order, declared TCP ports."""

    name: str
    host: str
    groups: tuple[str, ...]
    ports: tuple[int, ...]


Sender = Host | Task


@dataclass(frozen=True, slots=True)
class Pair:
    """From whom to which port of whom."""

    source: str
    target: str
    port: int


def is_open(source: Sender, target: Task, port: int) -> bool:
    """Whether the groups let `source` reach that port of `target`."""
    if isinstance(source, Host) and source.name == target.host:
        return True
    if target.ports and port not in target.ports:
        return False
    match source:
        case Host():
            return source.trusted or PUBLIC in target.groups
        case Task():
            return PUBLIC in target.groups or bool({*source.groups} & {*target.groups})


def pairs(senders: Iterable[Sender], targets: Sequence[Task], port: int | None) -> list[Pair]:
    """Every sender to every other task, on its first declared port or on the given one."""
    return [
        Pair(source.name, target.name, target.ports[0] if port is None else port)
        for source in senders
        for target in targets
        if source.name != target.name
    ]


def judge(wanted: bool, outcome: Outcome, declared: bool) -> Cell:
    """Compare; on a declared port somebody listens, so that only a connection will do."""
    if not wanted:
        return Cell.LEAK if outcome.arrived else Cell.CLOSED
    reached = outcome is Outcome.CONNECTED if declared else outcome.arrived
    return Cell.OPEN if reached else Cell.BROKEN


def judge_all(
    senders: Sequence[Sender], targets: Sequence[Task], outcomes: Mapping[Pair, Outcome]
) -> dict[Pair, Cell]:
    """Every measured pair beside what the groups call for."""
    sender_by_name = {sender.name: sender for sender in senders}
    target_by_name = {target.name: target for target in targets}
    cells = {}
    for pair, outcome in outcomes.items():
        target = target_by_name[pair.target]
        wanted = is_open(sender_by_name[pair.source], target, pair.port)
        cells[pair] = judge(wanted, outcome, pair.port in target.ports)
    return cells
