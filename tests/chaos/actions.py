"""What may happen in a chaos run, each with the second at which it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
class Split:
    """A member of etcd and some others do not hear each other; clients reach all of them.

    If it is to be the `leading` one, that is the member that leads by then, and
    all others.
    """

    at: float
    member: str
    others: tuple[str, ...]
    #: Connections are reset, or nothing is heard of them.
    fault: Fault
    seconds: float
    leading: bool = False


@dataclass(frozen=True, slots=True)
class EndTask:
    """kill -9 of one task of an app; Marathon starts another."""

    at: float
    app: str


@dataclass(frozen=True, slots=True)
class Wish:
    """From now on an app is to have so many tasks, in these groups; none: it is deleted.

    A plugin has `attached` its tasks before they run, or an agent finds them.
    """

    at: float
    app: str
    instances: int
    groups: tuple[str, ...] = ()
    attached: bool = False


Lasting = Pause | Cut | Break | Split
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
        case Split(_, member, others, fault, seconds, leading):
            who = f"etcd's leader, or {member}," if leading else member
            text = f"{fault} between {who} and {', '.join(others)} for {seconds:.1f} s"
        case EndTask(_, app):
            text = f"kill -9 a task of {app}"
        case Wish(_, app, 0):
            text = f"delete {app}"
        case Wish(_, app, instances, groups, attached):
            kind = "attached tasks" if attached else "tasks"
            text = f"{app} is to have {instances} {kind} in {', '.join(groups) or 'no group'}"
        case _:
            assert_never(action)
    return f"{action.at:7.1f} s  {text}"


def kind_of(action: Action) -> str:
    """What it is counted as."""
    match action:
        case Kill():
            return "kill -9 of a process"
        case Pause():
            return "stop of a process"
        case Cut(_, _, others):
            return "host cut off from all" if len(others) > 1 else "host cut off from the master"
        case Break(_, _, fault):
            return f"{fault} at a door"
        case Split(leading=True):
            return "leader of etcd cut off"
        case Split(_, _, others):
            return "member of etcd cut off" if len(others) > 1 else "two members of etcd apart"
        case EndTask():
            return "kill -9 of a task"
        case Wish(_, _, instances):
            return "deployment" if instances else "app deleted"
        case _:
            assert_never(action)


def count(actions: Iterable[Action]) -> str:
    """How many there are of each kind, the most first."""
    kinds = Counter(map(kind_of, actions))
    return ", ".join(f"{number} x {kind}" for kind, number in kinds.most_common())
