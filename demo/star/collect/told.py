"""What star-facts tells, as values; what is not understood is refused as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

IN_SYNC = "IN_SYNC"
LARGEST_FACTS = 8 << 20


class BadFactsError(ValueError):
    """What was told is not understood; the message says what."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the product sees it."""

    task: str
    app: str
    host: str
    address: str
    groups: tuple[str, ...]
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a task should reach a port of another; None if that is not known.

    `applied` says that the agents have reported all that decides it, `confirmed`
    that the hosts of both sides have.
    """

    allowed: bool | None
    applied: bool
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Host:
    """A host with its addresses on the network between hosts."""

    name: str
    addresses: tuple[str, ...]
    agent: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was told at once; `expected` by sender, receiver and port.

    `waiting` says what apps that wait for a host wait for, by app.
    """

    tasks: tuple[Task, ...]
    expected: Mapping[tuple[str, str, int], Reach]
    hosts: tuple[Host, ...]
    waiting: Mapping[str, str] = field(default_factory=dict)


def parse_facts(raw: object) -> Facts:
    """The document of `/facts`; raises BadFactsError."""
    try:
        whole = _object(raw)
        tasks = tuple(_task(_object(each)) for each in _list(whole["tasks"]))
        expected = dict(_reach(_object(each)) for each in _list(whole["expected"]))
        hosts = tuple(_host(_object(each)) for each in _list(whole.get("hosts", [])))
        waiting = dict(_waiting(_object(each)) for each in _list(whole.get("waiting", [])))
    except KeyError as error:
        raise BadFactsError(f"{error} is missing") from error
    return Facts(
        tasks=tuple(sorted(tasks, key=lambda task: task.task)),
        expected=expected,
        hosts=hosts,
        waiting=waiting,
    )


def _task(raw: Mapping[str, object]) -> Task:
    return Task(
        task=_text(raw["task"]),
        app=_text(raw["app"]),
        host=_text(raw["host"]),
        address=_text(raw["address"]),
        groups=tuple(map(_text, _list(raw["groups"]))),
        verdict=_text(raw["verdict"]),
        reason=_text(raw.get("reason", "")),
    )


def _reach(raw: Mapping[str, object]) -> tuple[tuple[str, str, int], Reach]:
    port, allowed = raw["port"], raw["allowed"]
    if not isinstance(port, int) or not (allowed is None or isinstance(allowed, bool)):
        raise BadFactsError("a pair has a port and says whether it is allowed")
    key = (_text(raw["from"]), _text(raw["to"]), port)
    applied = raw.get("applied", True) is True
    confirmed = raw.get("confirmed", applied) is True
    return key, Reach(allowed=allowed, applied=applied, confirmed=confirmed)


def _host(raw: Mapping[str, object]) -> Host:
    tasks = raw.get("tasks", 0)
    return Host(
        name=_text(raw["host"]),
        addresses=tuple(map(_text, _list(raw["addresses"]))),
        agent=_text(raw.get("agent", "")),
        tasks=tasks if isinstance(tasks, int) else 0,
    )


def _waiting(raw: Mapping[str, object]) -> tuple[str, str]:
    return _text(raw["app"]), _text(raw["reason"])


def _object(raw: object) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise BadFactsError("an object was expected")
    return raw


def _list(raw: object) -> Iterator[object]:
    if not isinstance(raw, list):
        raise BadFactsError("a list was expected")
    return iter(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise BadFactsError("a text was expected")
    return raw
