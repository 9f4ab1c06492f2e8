"""Reports to the datastore what an agent has reached, in a thread of its own.

A slow or absent datastore never delays the kernel: only the newest report
counts, and what the datastore holds is compared with it as a whole.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from calico.cluster import ObjectionRecord
from calico.codec import encode_applied, encode_host, encode_objection
from calico.dataplane.render.memory import Remembered
from calico.datastore.api import ABSENT, Datastore, Key, Revision, Stored
from calico.errors import CalicoError, Conflict, DatastoreUnavailable
from calico.identifiers import check_host
from calico.keys import (
    FELIX,
    applied_key,
    felix_status_key,
    host_key,
    objection_key,
    own_directories,
    reaches_etcd,
)
from calico.model import AppliedRecord, Attachment, BootId, HostName, HostRecord
from reconciler.agent.reporting.host_identity import Machine, NameTaken, expect_own_name
from reconciler.agent.reporting.registration import (
    ALIVE_EVERY,
    ALIVE_TTL,
    last_reported_key,
    render_alive,
)
from reconciler.runtime.clock import Clock
from reconciler.runtime.complaint import Complaint
from reconciler.runtime.inbox import Inbox

log = logging.getLogger(__name__)

#: Seconds between two records of progress when something waits for it, or not.
APPLIED_SOON = 1.0
APPLIED_LATER = 10.0
#: Seconds after which what the datastore holds is read anew.
RELOAD_EVERY = 60.0
#: Seconds within which it is noticed that the agent is to stop.
LONGEST_WAIT = 1.0
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 5.0
#: Of a machine that cannot be told from others.
NO_MACHINE = Machine(BootId(""), "")


def _go_on() -> None:
    """Do nothing about it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the datastore should hold of one agent.

    `statuses` None leaves those alone that are there: the agent does not know
    yet which of them still hold. `objection` is told while the datastore is not
    the one that they are of, and taken back as soon as it is. `applied` None
    leaves both alone: the agent does not know yet which datastore this is.
    `is_registered` is whether the host was seen in it.
    """

    host: HostRecord | None
    applied: AppliedRecord | None
    statuses: Mapping[Key, str] | None = None
    objection: ObjectionRecord | None = None
    is_registered: bool = False


class Reporter:
    """Brings the datastore to the newest report; one thread calls `step`.

    Though the keys are this host's alone, and there is one agent on a host, its
    writes are compare-and-swap: one that went unanswered may land any time later,
    and then finds that the key has changed. For that the key is written again,
    also if it holds what it should. What is left is a status that lands after its
    task is gone, or after the agent was started again: it stays until what is
    there is next read.
    """

    def __init__(
        self,
        host: HostName,
        datastore: Datastore,
        clock: Clock,
        jitter: Callable[[], float],
        machine: Machine = NO_MACHINE,
        taken: Callable[[], None] = _go_on,
    ) -> None:
        """`taken` is called when another machine that lives is found under this name."""
        self._machine = machine
        self._taken = taken
        #: Why nothing is told any more, once another machine was found; empty before.
        self.why_not = ""
        #: Set once the datastore was asked who has the name, also if it did not answer.
        self.asked = threading.Event()
        self._host = host
        self._datastore = datastore
        self._clock = clock
        self._jitter = jitter
        self._inbox: Inbox[Report] = Inbox()
        self._report: Report | None = None
        self._held: dict[Key, Stored] | None = None
        #: What revision a key had when a write of it went unanswered: while it
        #: has that still, the write may land yet.
        self._unanswered: dict[Key, Revision] = {}
        self._started = clock.monotonic()
        self._alive_due = self._started
        self._reload_due = self._started
        self._applied_due = self._started
        self._applied: AppliedRecord | None = None
        #: What was delivered to the end, as long as the datastore is known to hold it.
        self._delivered: Report | None = None
        self._first = True
        self._host_text: Remembered[str] = Remembered()
        self._applied_text: Remembered[str] = Remembered()
        self._failures = 0
        self._retry_at = self._started
        self._undelivered = Complaint(log, "report not delivered")

    def post(self, report: Report) -> None:
        """Have a report delivered; it replaces every earlier one."""
        self._inbox.post(report)

    def run(self, stop: threading.Event) -> None:
        """Report until stopped."""
        while not stop.is_set():
            self.step(min(LONGEST_WAIT, self.wait()))

    def step(self, timeout: float = 0.0) -> None:
        """Take reports in, waiting up to `timeout` for one, and deliver the newest."""
        reports = self._inbox.drain(timeout)
        if reports:
            before, self._report = self._report, reports[-1]
            if before is not None and _may_be_lost(before, self._report):
                # Of what was written to another store nothing may be left.
                self._held = self._delivered = None
                # Nor is it known there that this agent lives.
                self._alive_due = self._clock.monotonic()
        now = self._clock.monotonic()
        if now < self._retry_at or self.why_not:
            return
        try:
            self._deliver(now)
        except NameTaken as error:
            self.why_not = str(error)
            self._taken()
        except CalicoError as error:
            self._held = self._delivered = None
            self._failures += 1
            limit = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self._failures, 8))
            self._retry_at = now + limit * self._jitter()
            self._undelivered.tell(str(error))
        else:
            self._failures = 0
            self._undelivered.over()
        finally:
            self.asked.set()

    def wait(self) -> float:
        """Seconds until `step` has something to do, unless a report comes."""
        if self.why_not:
            return LONGEST_WAIT
        now = self._clock.monotonic()
        due = min(self._alive_due, self._reload_due)
        report = self._report
        if report is not None and report.applied not in (None, self._applied):
            due = min(due, self._applied_due)
        if now < self._retry_at:
            due = self._retry_at
        return max(0.0, due - now)

    def _deliver(self, now: float) -> None:
        if self._held is None or now >= self._reload_due:
            self._held, self._delivered = self._read_held(), None
            self._reload_due = now + RELOAD_EVERY
            self.asked.set()
        if now >= self._alive_due:
            self._deliver_alive(now)
        report = self._report
        if report is None or report is self._delivered:
            return
        if report.host is not None:
            host = report.host
            text = self._host_text.of(host, lambda: encode_host(host))
            self._put(self._held, host_key(self._host), text)
        if report.applied is not None:
            self._deliver_objection(self._held, report.objection)
        moved = False
        removed: list[Key] = []
        if report.statuses is not None:
            for key, value in report.statuses.items():
                moved = self._put(self._held, key, value) or moved
            for key in self._statuses(self._held) - report.statuses.keys():
                self._delete(self._held, key)
                removed.append(key)
        if report.applied is not None:
            self._deliver_applied(self._held, report.applied, moved or bool(removed), now)
        for key in removed:
            self._remove_empty(own_directories(key))
        if report.applied in (None, self._applied):
            self._delivered = report
            self._unanswered.clear()

    def _remove_empty(self, directories: Iterable[Key]) -> None:
        """Take away what etcd leaves of a status, as Felix does."""
        for directory in directories:
            try:
                self._datastore.delete(directory)
            except Conflict:
                # Another endpoint of the same workload lives in it.
                return

    def _deliver_alive(self, now: float) -> None:
        uptime, boot_id = now - self._started, self._machine.boot_id
        value = render_alive(self._clock.wall(), uptime, self._first, boot_id)
        self._datastore.put(felix_status_key(self._host), value, ttl=ALIVE_TTL)
        self._datastore.put(last_reported_key(self._host), value)
        self._first = False
        self._alive_due = now + ALIVE_EVERY * (1 + 0.1 * self._jitter())

    def _deliver_applied(
        self, held: dict[Key, Stored], applied: AppliedRecord, moved: bool, now: float
    ) -> None:
        before = self._applied
        if applied != before:
            # A task that comes or goes, a proof and a problem are waited for; mere
            # progress is not.
            waited_for = (
                moved
                or before is None
                or _word(applied) != _word(before)
                or _named(applied) - _named(before)
            )
            if waited_for:
                self._applied_due = min(
                    self._applied_due, max(now, self._applied_due - APPLIED_LATER + APPLIED_SOON)
                )
            if now < self._applied_due:
                return
            self._applied_due = now + APPLIED_LATER
            self._applied = applied
        if self._applied is not None:
            told = self._applied
            text = self._applied_text.of(told, lambda: encode_applied(told))
            self._put(held, applied_key(self._host), text)

    def _deliver_objection(
        self, held: dict[Key, Stored], objection: ObjectionRecord | None
    ) -> None:
        key = objection_key(self._host)
        if objection is not None:
            self._put(held, key, encode_objection(objection))
        elif key in held:
            self._delete(held, key)

    def _put(self, held: dict[Key, Stored], key: Key, value: str) -> bool:
        """Have a key hold this; tells whether it held something else."""
        stored = held.get(key)
        moved = stored is None or stored.value != value
        before = ABSENT if stored is None else stored.revision
        if moved or self._unanswered.get(key) == before:
            with self._sending(key, before):
                held[key] = Stored(key, value, self._datastore.put(key, value, expect=before))
        return moved

    def _delete(self, held: dict[Key, Stored], key: Key) -> None:
        before = held[key].revision
        with self._sending(key, before):
            self._datastore.delete(key, expect=before)
        del held[key]

    @contextmanager
    def _sending(self, key: Key, before: Revision) -> Iterator[None]:
        """Remember a write that is not answered."""
        try:
            yield
        except DatastoreUnavailable:
            self._unanswered[key] = before
            raise

    def _read_held(self) -> dict[Key, Stored]:
        """What the datastore holds of this host, which is another machine's in no part."""
        prefix = Key(f"{FELIX}/{check_host(self._host)}/workload")
        held = {each.key: each for each in self._datastore.list(prefix).entries}
        for key in (host_key(self._host), applied_key(self._host), objection_key(self._host)):
            stored = self._datastore.get(key)
            if stored is not None:
                held[key] = stored
        expect_own_name(self._datastore, self._host, self._machine, held.get(host_key(self._host)))
        return held

    def _statuses(self, held: Iterable[Key]) -> set[Key]:
        prefix = f"{FELIX}/{self._host}/workload/"
        # Who escaped a name did not have it from us.
        return {key for key in held if key.startswith(prefix) and reaches_etcd(key)}


def _may_be_lost(before: Report, now: Report) -> bool:
    """Whether what was told may be gone: another datastore, or one that was emptied in place."""
    return _store(before.applied) != _store(now.applied) or (
        before.is_registered and not now.is_registered
    )


def _store(applied: AppliedRecord | None) -> tuple[object, ...]:
    """What tells that the datastore is another one, or is another one again."""
    return () if applied is None else (applied.guid, applied.doubt)


def _word(applied: AppliedRecord) -> tuple[object, ...]:
    """What somebody waits for at once."""
    return applied.gone, applied.problems, applied.guid, applied.takeover, applied.doubt


def _named(applied: AppliedRecord) -> set[Attachment]:
    """The attachments that the controller can do something with: whose task is told."""
    return {each for each in applied.attachments if each.task}
