"""The agent's one loop: messages in, a pass, what came of it out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event

from calico.codec import encode_status
from calico.dataplane.heap import give_back_heap
from calico.datastore.api import Key
from calico.errors import InvalidName
from calico.keys import status_key
from calico.model import (
    AppliedRecord,
    EndpointId,
    EndpointStatus,
    HostFlags,
    HostRecord,
    Refusal,
    TaskId,
)
from reconciler.agent.belief import Source
from reconciler.agent.locators.api import Locator, Search, locate
from reconciler.agent.observation.lookout import LookAsked, Lookout
from reconciler.agent.observation.looks import VERIFY_AFTER
from reconciler.agent.reconciliation.passes import (
    AgentMessage,
    ContainersChanged,
    HostSettings,
    KernelChanged,
    Pass,
)
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.registration import host_record
from reconciler.agent.reporting.reporter import Report
from reconciler.agent.state_file import SavedState
from reconciler.runtime.clock import Clock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.listener import Page
from reconciler.runtime.watchfeed import Bookmark, Loaded, Unreachable

log = logging.getLogger(__name__)

#: Seconds without a turn of the loop after which the agent is not healthy.
STUCK_AFTER = 60.0
LONGEST_WAIT = 5.0
#: Seconds without a message after which what was reached is told, and the most
#: that it waits for such a moment.
QUIET = 0.01
REPORT_WITHIN = 0.25
#: Seconds after large amounts of memory were used for a while until they are given back.
TIDY_AFTER = 5.0
MANY_CHANGES = 100


@dataclass(frozen=True, slots=True)
class Stop:
    """End the loop; the kernel stays as it is."""


LoopMessage = AgentMessage | LookAsked | Stop


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the loop hands over what other threads do; none of them blocks."""

    report: Callable[[Report], None]
    save: Callable[[SavedState], None]
    search: Callable[[frozenset[TaskId]], None]


class AgentLoop:
    """Runs one reconciler; the pages may be read from any thread."""

    def __init__(
        self,
        reconciler: HostReconciler,
        settings: HostSettings,
        inbox: Inbox[LoopMessage],
        outlets: Outlets,
        metrics: AgentMetrics,
        clock: Clock,
        refusals: Callable[[], tuple[Refusal, ...]] = tuple,
    ) -> None:
        """`refusals` are the last few calls of plugins that came to nothing."""
        self._refusals = refusals
        self._reconciler = reconciler
        self._settings = settings
        self._inbox = inbox
        self._outlets = outlets
        self._metrics = metrics
        self._clock = clock
        self._turned = clock.monotonic()
        self._last: Pass | None = None
        self._unreported: Pass | None = None
        self._report_by = clock.monotonic()
        self._followed = clock.monotonic()
        self._told: tuple[str, ...] = ()
        self._lost: dict[Key, str] = {}
        self._record: HostRecord | None = None
        self._texts = _StatusTexts()
        self._lookout = Lookout(reconciler.look, clock)
        self._listen = ""
        self._tidy_due = float("inf")
        metrics.age.set_function(self._age)

    def run(self, listen: str = "") -> None:
        """Turn until told to stop; `listen` is where the pages are served.

        What was reached is reported in a quiet moment: who follows a task's start
        closely then reads of its end, not of each step, and the kernel's next
        change does not wait for the report.
        """
        self._listen = listen
        wait = 0.0
        while True:
            messages = self._inbox.drain(min(wait, QUIET) if self._unreported else wait)
            if any(isinstance(message, Stop) for message in messages):
                return
            try:
                if not messages or self._clock.monotonic() >= self._report_by:
                    self.report()
                wait = self.advance(messages)
            except Exception:
                # A defect: the kernel stays as it is, and the next turn looks anew.
                log.exception("defect in a pass")
                self._metrics.passes.labels("defect").inc()
                wait = VERIFY_AFTER

    def advance(self, messages: Sequence[LoopMessage]) -> float:
        """Take messages in and do what is due; tells how long nothing else is."""
        asked = [message for message in messages if isinstance(message, LookAsked)]
        for message in messages:
            self._note(message)
            if not isinstance(message, Stop | LookAsked):
                self._reconciler.handle(message)
        self._begin(self._reconciler.search_arrived())
        # A notice alone asks for a look, now or later, and a container for a search.
        news = any(
            not isinstance(each, LookAsked | KernelChanged | ContainersChanged | Bookmark)
            for each in messages
        )
        if news or self._reconciler.pass_is_due():
            started = self._clock.monotonic()
            reached = self._reconciler.reconcile()
            if self._unreported is None:
                self._report_by = self._clock.monotonic() + REPORT_WITHIN
            self._unreported = self._last = reached
            if len(reached.changes) >= MANY_CHANGES:
                self._tidy_later()
            self._metrics.note(reached, self._clock.monotonic() - started)
        self._begin(self._reconciler.search())
        self._show(asked)
        self._turned = now = self._clock.monotonic()
        if now >= self._tidy_due:
            self._tidy_due = float("inf")
            give_back_heap()
        return min(LONGEST_WAIT, max(0.0, self._reconciler.next_due() - now))

    def report(self) -> None:
        """Report and save what the last pass came to, unless that was done."""
        unreported, self._unreported = self._unreported, None
        if unreported is not None:
            self._publish(unreported)

    def _show(self, asked: Sequence[LookAsked]) -> None:
        """Let those see the kernel who asked; what is wrong with it is mended next."""
        problems = self._last.problems if self._last is not None else ()
        if not asked:
            self._lookout.forget_old()
            return
        self._tidy_later()
        if self._lookout.answer(asked, problems):
            self._reconciler.handle(KernelChanged())

    def _tidy_later(self) -> None:
        """What a list, a large change or a table in words took is soon needed no more."""
        self._tidy_due = min(self._tidy_due, self._clock.monotonic() + TIDY_AFTER)

    def _begin(self, tasks: frozenset[TaskId]) -> None:
        if tasks:
            self._outlets.search(tasks)

    def health(self) -> Page:
        """Whether the loop still turns."""
        idle = self._clock.monotonic() - self._turned
        return Page(idle < STUCK_AFTER, {"idle_seconds": round(idle, 1)})

    def readiness(self) -> Page:
        """Whether the kernel is what the datastore asks for, as far as is known.

        Also why no container would be attached now, though that is so.
        """
        last = self._last
        if last is None:
            return Page(False, {"reason": "not yet looked at the kernel"})
        reason = (
            last.view.doubt
            or last.view.unreachable
            or ("" if last.view.snapshot is not None else "the datastore is not yet read")
            or ("" if last.view.source is Source.DATASTORE else "acting on the state file")
            or ("" if last.settled else "; ".join(last.problems) or "the kernel is being changed")
        )
        fields = {
            "reason": reason,
            "source": last.view.source.value,
            "revision": last.revision,
            "problems": list(last.problems),
            "why_not_attached": last.why_not_attached,
        }
        return Page(not reason, fields)

    def _publish(self, reached: Pass) -> None:
        if reached.problems != self._told:
            self._told = reached.problems
            for problem in reached.problems:
                log.warning("host problem", extra={"why": problem})
        host, boot_id = self._settings.host, self._settings.boot_id
        record = self._record
        found = (reached.address, reached.others)
        if reached.address is not None and (
            record is None or (record.address, record.others) != found
        ):
            flags = HostFlags(self._settings.host_ports, self._settings.protected)
            record = replace(
                host_record(host, reached.address, reached.others, boot_id),
                listen=self._listen,
                flags=flags,
                locators=self._settings.locators,
            )
            self._record = record
        # Revisions are numbers of one store's life. One that is doubted has not had
        # those that were reached, however high they are.
        doubted = bool(reached.view.doubt)
        applied = AppliedRecord(
            host=host,
            boot_id=boot_id,
            revision=0 if doubted else reached.revision,
            gone=() if doubted else reached.gone,
            problems=reached.problems,
            attachments=reached.attachments,
            refusals=self._refusals(),
            guid=reached.view.guid,
            takeover=reached.view.takeover,
            doubt=reached.view.doubt,
        )
        statuses = None
        # An old state file knows nothing of endpoints that came since.
        if reached.statuses is not None and reached.view.source is Source.DATASTORE:
            statuses = self._texts.of(reached.statuses)
        told = applied if reached.view.is_read else None
        objection, known = self._reconciler.objection(), reached.view.is_registered
        self._outlets.report(Report(record, told, statuses, objection, known))
        saved = self._reconciler.saved()
        if saved is not None:
            self._outlets.save(saved)

    def _note(self, message: LoopMessage) -> None:
        match message:
            case Loaded(prefix, listing):
                self._tidy_later()
                log.info(
                    "datastore read", extra={"prefix": prefix, "entries": len(listing.entries)}
                )
                self._metrics.lists.labels(prefix).inc()
                self._lost.pop(prefix, None)
            case Unreachable(prefix, reason):
                # Every feed says so; once is enough.
                if reason not in self._lost.values():
                    log.warning("datastore lost", extra={"why": reason})
                self._lost[prefix] = reason
                self._metrics.lost.labels(prefix).inc()
            case KernelChanged(noticed) if noticed.foreign:
                self._metrics.foreign.inc()
            case _:
                pass

    def _age(self) -> float:
        last = self._last
        now = self._clock.monotonic()
        if last is not None and last.view.source is Source.DATASTORE and not last.view.unreachable:
            self._followed = now
        return now - self._followed


class _StatusTexts:
    """Statuses as they are stored; what did not change is not encoded again."""

    def __init__(self) -> None:
        self._last: dict[EndpointId, tuple[EndpointStatus, Key, str]] = {}

    def of(self, statuses: Mapping[EndpointId, EndpointStatus]) -> dict[Key, str]:
        """The text of each status by its key."""
        fresh = {}
        for endpoint, status in statuses.items():
            known = self._last.get(endpoint)
            if known is None or known[0] != status:
                try:
                    known = (status, status_key(endpoint), encode_status(status))
                except InvalidName as error:
                    log.warning("status not reported", extra={"why": str(error)})
                    continue
            fresh[endpoint] = known
        self._last = fresh
        return {key: text for _, key, text in fresh.values()}


class Searcher:
    """Asks the locators in a thread of its own: a Mesos agent may be slow."""

    def __init__(self, locators: Sequence[Locator], post: Callable[[Search], None]) -> None:
        self._locators = locators
        self._post = post
        self._inbox: Inbox[frozenset[TaskId]] = Inbox()

    def post(self, tasks: frozenset[TaskId]) -> None:
        """Have a search made."""
        self._inbox.post(tasks)

    def run(self, stop: Event) -> None:
        """Search until stopped."""
        while not stop.is_set():
            waiting = self._inbox.drain(timeout=1.0)
            if waiting:
                self.answer(frozenset[TaskId]().union(*waiting))

    def answer(self, tasks: frozenset[TaskId]) -> None:
        """Make one search and post what it found, whatever happens."""
        try:
            found = locate(self._locators, tasks)
        except Exception:
            log.exception("defect in a locator")
            found = Search(tasks, unavailable=("a locator failed",))
        self._post(found)
