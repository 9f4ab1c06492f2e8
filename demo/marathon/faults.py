"""Faults that tests switch on: a table of what goes wrong, where, how often."""

from __future__ import annotations

import enum
import fnmatch
import threading

import msgspec


class Answer(enum.StrEnum):
    """What a REST request gets instead of its answer, or on top of it."""

    STATUS = "status"
    HTML = "html"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    DELAY = "delay"
    HANG = "hang"


class RestFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of wrong answer; `times` None means until it is taken back."""

    answer: Answer
    path: str = "/v2/*"
    method: str = "*"
    status: int = 503
    seconds: float = 1.0
    times: int | None = None


class StreamFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong on the event stream; `drop` has names, `*` is all of them."""

    heartbeat: bool = True
    drop: tuple[str, ...] = ()
    delay: float = 0.0
    copies: int = 1
    refuse: int | None = None


class FaultTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is wrong at one time; `cut` ends the open streams once."""

    rest: tuple[RestFault, ...] = ()
    stream: StreamFaults = StreamFaults()
    cut: str = ""


class Faults:
    """The table in force; read by many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._table = FaultTable()
        self._left: dict[int, int] = {}

    @property
    def table(self) -> FaultTable:
        """The table as it was set."""
        return self._table

    @property
    def heartbeat(self) -> bool:
        """False while streams are to fall silent."""
        return self._table.stream.heartbeat

    @property
    def event_delay(self) -> float:
        """How many seconds late events are."""
        return self._table.stream.delay

    @property
    def refused_stream(self) -> int | None:
        """The status that new streams are refused with."""
        return self._table.stream.refuse

    def copies_of(self, event_name: str) -> int:
        """How many times an event is sent: none if it is dropped."""
        stream = self._table.stream
        dropped = any(fnmatch.fnmatch(event_name, pattern) for pattern in stream.drop)
        return 0 if dropped else stream.copies

    def set(self, table: FaultTable) -> None:
        """Put another table in force; what hung goes on."""
        with self._changed:
            self._table = table
            self._left = {
                index: fault.times
                for index, fault in enumerate(table.rest)
                if fault.times is not None
            }
            self._changed.notify_all()

    def take(self, method: str, path: str) -> RestFault | None:
        """The first fault that fits the request; uses up one of its times."""
        with self._changed:
            for index, fault in enumerate(self._table.rest):
                if self._left.get(index) == 0:
                    continue
                if fnmatch.fnmatch(method, fault.method) and fnmatch.fnmatch(path, fault.path):
                    if index in self._left:
                        self._left[index] -= 1
                    return fault
        return None

    def hold(self, seconds: float | None) -> None:
        """Wait that long, or until another table is in force."""
        with self._changed:
            table = self._table
            self._changed.wait_for(lambda: self._table is not table, seconds)


def emptied(body: object) -> object:
    """The answer with every top-level list emptied: well-formed, and a lie."""
    if isinstance(body, dict):
        return {key: [] if isinstance(value, list) else value for key, value in body.items()}
    return [] if isinstance(body, list) else body
