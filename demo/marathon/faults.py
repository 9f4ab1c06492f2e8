"""Faults that tests switch on: a table of what goes wrong, where, how often."""

from __future__ import annotations

import enum
import fnmatch
import threading

import msgspec

from demo.marathon.api.request import Reply


class Answer(enum.StrEnum):
    """What a REST request gets instead of its answer, or on top of it."""

    STATUS = "status"
    HTML = "html"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    DELAY = "delay"
    HANG = "hang"
    STALE = "stale"
    """What the first request since the fault began was answered."""
    LACKING = "lacking"
    """No app, task or pod in it whose id fits `ids`."""
    PATCHED = "patched"
    """With other `fields` at its top."""


class RestFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of wrong answer; `times` None means until it is taken back."""

    answer: Answer
    path: str = "/v2/*"
    method: str = "*"
    status: int = 503
    seconds: float = 1.0
    times: int | None = None
    ids: str = ""
    fields: dict[str, object] = {}


class StreamFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong on the event stream; `drop` has names, `*` is all of them.

    `youngest_first` turns the order of events round that are late together;
    `ends` ends each stream behind its headers; `packs` sends gzip to whoever takes
    it, whose events wait until they fill a buffer.
    """

    heartbeat: bool = True
    drop: tuple[str, ...] = ()
    delay: float = 0.0
    copies: int = 1
    refuse: int | None = None
    youngest_first: bool = False
    ends: bool = False
    packs: bool = False


class FaultTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is wrong at one time; `cut` ends the open streams once.

    `leader` is HOST:PORT of whom answers name as the leader instead.
    """

    rest: tuple[RestFault, ...] = ()
    stream: StreamFaults = StreamFaults()
    cut: str = ""
    leader: str = ""


class Faults:
    """The table in force; read by many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._table = FaultTable()
        self._left: dict[int, int] = {}
        self._kept: dict[str, Reply] = {}

    @property
    def table(self) -> FaultTable:
        """The table as it was set."""
        return self._table

    @property
    def heartbeat(self) -> bool:
        """False while streams are to fall silent."""
        return self._table.stream.heartbeat

    @property
    def youngest_first(self) -> bool:
        """True while of events that are late together the last is sent first."""
        return self._table.stream.youngest_first

    @property
    def ends_streams(self) -> bool:
        """True while new streams end behind their headers."""
        return self._table.stream.ends

    @property
    def packs_streams(self) -> bool:
        """True while new streams are sent as gzip to those who take it."""
        return self._table.stream.packs

    @property
    def leader(self) -> str:
        """Whom answers name as the leader; empty for the truth."""
        return self._table.leader

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
            self._kept.clear()
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

    def stale(self, request: str, reply: Reply) -> Reply:
        """What this request was answered first since the table is in force."""
        with self._changed:
            return self._kept.setdefault(request, reply)

    def hold(self, seconds: float | None) -> None:
        """Wait that long, or until another table is in force."""
        with self._changed:
            table = self._table
            self._changed.wait_for(lambda: self._table is not table, seconds)


def bent(fault: RestFault, body: object) -> object:
    """The answer as the fault shows it: well-formed, and a lie."""
    match fault.answer, body:
        case Answer.EMPTY, _:
            return emptied(body)
        case Answer.LACKING, _:
            return lacking(fault.ids, body)
        case Answer.PATCHED, dict():
            return body | fault.fields
        case _:
            return body


def lacking(ids: str, body: object) -> object:
    """The answer without the objects at any depth whose id fits a pattern."""
    if isinstance(body, dict):
        return {key: lacking(ids, value) for key, value in body.items()}
    if isinstance(body, list):
        return [lacking(ids, each) for each in body if not _has_id(each, ids)]
    return body


def _has_id(value: object, ids: str) -> bool:
    return isinstance(value, dict) and fnmatch.fnmatchcase(str(value.get("id", "")), ids)


def emptied(body: object) -> object:
    """The answer with every top-level list emptied: well-formed, and a lie."""
    if isinstance(body, dict):
        return {key: [] if isinstance(value, list) else value for key, value in body.items()}
    return [] if isinstance(body, list) else body
