"""What may happen in a chaos run, each with the second at which it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from tests.faults.door import Fault


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9 of a process, which its supervisor starts again."""

    at: float
    process: str


@dataclass(frozen=True, slots=True)
class Pause:
    """SIGSTOP of a process, and SIGCONT later."""

    at: float
    process: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A host loses every packet to and from some others of its underlay."""

    at: float
    host: str
    others: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """What passes by one door of the fault proxy is broken."""

    at: float
    door: str
    fault: Fault
    seconds: float
    #: For how long each piece waits, if that is the fault.
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class EndTask:
    """kill -9 of one task of an app; Marathon starts another."""

    at: float
    app: str


@dataclass(frozen=True, slots=True)
class Wish:
    """From now on an app is to have so many tasks, in these groups; none: it is deleted."""

    at: float
    app: str
    instances: int
    groups: tuple[str, ...] = ()


Lasting = Pause | Cut | Break
Action = Kill | Lasting | EndTask | Wish


def describe(action: Action) -> str:
    """One line for a person."""
    match action:
        case Kill(_, process):
            text = f"kill -9 {process}"
        case Pause(_, process, seconds):
            text = f"stop {process} for {seconds:.1f} s"
        case Cut(_, host, others, seconds):
            text = f"cut {host} from {', '.join(others)} for {seconds:.1f} s"
        case Break(_, door, fault, seconds, delay):
            by = f" by {delay:.2f} s" if fault is Fault.DELAY else ""
            text = f"{fault}{by} at the door of {door} for {seconds:.1f} s"
        case EndTask(_, app):
            text = f"kill -9 a task of {app}"
        case Wish(_, app, 0, _):
            text = f"delete {app}"
        case Wish(_, app, instances, groups):
            text = f"{app} is to have {instances} tasks in {', '.join(groups) or 'no group'}"
        case _:
            assert_never(action)
    return f"{action.at:7.1f} s  {text}"
