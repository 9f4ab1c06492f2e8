"""The controller's one loop: what its feeds say, and what is due, in turn."""

import enum
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from netaddr import IPNetwork

from calico.cluster import HoldRecord, Standing
from calico.datastore.api import Key as Prefix
from calico.errors import CalicoError, Conflict, UnknownSchema
from calico.keys import APPLIED, HOSTS, POOLS
from calico.model import Attachment, HostName, HostRecord
from marathon_client.errors import MarathonError
from marathon_client.events import (
    AppChanged,
    AppTerminated,
    EverythingChanged,
    Ignored,
    Subscribed,
    TaskStatus,
    Unreadable,
)
from marathon_client.models import AppId, TaskState
from marathon_client.stream import Connected, Disconnected, StreamItem
from reconciler.controller.allow_from import AllowFrom
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.pinned import UnreadablePin
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.reloads import Reloads
from reconciler.controller.stored import StoredState
from reconciler.controller.stream_log import StreamLog
from reconciler.core.removal.framework import Trust
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost
from reconciler.runtime.pace import Pace
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable
from reconciler.runtime.workqueue import WorkQueue

log = logging.getLogger(__name__)

#: Seconds between looks at addresses that rest.
SWEEP_EVERY = 5.0
#: Seconds that a complete list waits for more events that ask for one: a group
#: change names everything, and the events of its apps follow it closely.
DEBOUNCE = 0.5
#: How often an app is read because of events that name it: so many times at
#: once, then once in so many seconds. A start takes three or four.
READS_AT_ONCE, READ_EVERY = 8, 0.2
#: Seconds after which what only Calico's tools read follows.
FINISH_AFTER = 1.0
#: Seconds after a list until a task that it shows waiting is looked at again.
LOOK_AGAIN = 1.0
#: Seconds between two looks for containers of tasks that nobody told of.
STRANGE_AFTER = 5.0
#: Seconds after a takeover until all is read once more: by then a write that the
#: leader before had sent is done or lost. What one sends that is stopped for
#: longer is seen with the next timed list.
LATE_AFTER = 17.0
#: Seconds between two looks at what hosts hold, while nothing may be given.
HEAR_EVERY = 1.0
#: Seconds between two looks at what is pinned for the cluster.
PIN_EVERY = 5.0
#: Share of the resync interval by which it varies.
JITTER = 0.2


class Chore(enum.Enum):
    """Work that is not about one app."""

    RELOAD = "reload"
    HOSTS = "hosts"
    RESYNC = "resync"
    FINISH = "finish"
    SWEEP = "sweep"
    STRANGERS = "strangers"
    STORE = "store"
    LATE = "late"
    PIN = "pin"


class Stopped(Exception):
    """The loop is to end in the middle of what it does."""


Key = AppId | Chore
Message = StreamItem | FeedMessage


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the loop asks of the process around it.

    `prepare` writes what a first start needs; `listen` gives the messages that
    came meanwhile and raises Stopped; `reconnect` opens the event stream anew.
    """

    prepare: Callable[[], None]
    allow_from: AllowFrom
    listen: Callable[[], Sequence[Message]] = tuple
    reconnect: Callable[[], None] = lambda: None


class ControllerLoop:
    """Owns the queue; every method is called by one thread."""

    def __init__(
        self,
        reconciler: Reconciler,
        stored: StoredState,
        outlook: Outlook,
        clock: Clock,
        jitter: Callable[[], float],
        resync: float,
        metrics: ControllerMetrics,
    ) -> None:
        self._reconciler = reconciler
        self._stored = stored
        self._outlook = outlook
        self._clock = clock
        self._jitter = jitter
        self._resync = resync
        self._metrics = metrics
        self._queue: WorkQueue[Key] = WorkQueue(jitter)
        self._reloads: Reloads[Key] = Reloads()
        self._loaded: set[object] = set()
        self._prepared = False
        self._told: dict[Key, str] = {}
        #: Why there was no complete list when one was asked for last.
        self._unheard = ""
        #: Why nothing is decided at all: whose cluster this is cannot be read.
        self.blocked = ""
        self._stream = StreamLog()
        self._pace: Pace[AppId] = Pace(burst=READS_AT_ONCE, every=READ_EVERY)
        #: Whether the next complete list was asked for by more than the timer.
        self._asked = True
        #: Containers of unknown tasks at the last look, and those of them for
        #: which a list was asked for.
        self._strangers: frozenset[Attachment] = frozenset()
        self._listed: frozenset[Attachment] = frozenset()
        self.last_resync: float | None = None
        self._queue.add(Chore.RELOAD, clock.monotonic())

    @property
    def standing(self) -> Standing:
        """Whether addresses are given; what cannot be done, and why."""
        standing = self._reconciler.adoption.standing
        if self.blocked:
            return replace(standing, waits=self.blocked)
        if not self._unheard:
            return standing
        unheard = f"changes in Marathon are not followed: {self._unheard}"
        return replace(standing, waits="; ".join(filter(None, (standing.waits, unheard))))

    @property
    def holds(self) -> tuple[HoldRecord, ...]:
        """What waits for an operator."""
        return self._reconciler.holds.records

    def handle(self, message: Message) -> None:
        """Take one message in: it marks keys dirty and is otherwise forgotten."""
        match message:
            case Loaded() | Changed() | Unreachable():
                self._hear_datastore(message)
            case _:
                self._hear_marathon(message)

    def step(self) -> bool:
        """Do what is due longest; tells whether anything was.

        Raises LeaseLost, Stopped and UnknownSchema, after which this loop must end. Any other
        failure is told once and tried again with backoff.
        """
        if not self._loaded >= {HOSTS, APPLIED}:
            return False
        key = self._queue.pop(self._clock.monotonic())
        if key is None:
            return False
        if key is not Chore.RELOAD and not self._prepared:
            # Nothing may be written before it is known how.
            self._queue.add(key, self._clock.monotonic() + 1.0)
            return True
        again = False
        try:
            again = self._work(key)
        except (LeaseLost, Stopped, UnknownSchema):
            raise
        except (CalicoError, MarathonError) as error:
            self._refused(key, error)
        except Exception:
            delay = self._put_off(key, "defect")
            log.exception(
                "defect in the controller's loop",
                extra={"key": _word(key), "in_seconds": round(delay, 1)},
            )
        else:
            self._told.pop(key, None)
            self._reloads.succeeded(key)
            if again:
                self._queue.failed(key, self._clock.monotonic())
            else:
                self._queue.succeeded(key)
        return True

    def wait(self) -> float:
        """Seconds until something is due; 1 at most."""
        due = self._queue.next_due()
        if due is None or not self._loaded >= {HOSTS, APPLIED}:
            return 1.0
        return min(1.0, max(0.0, due - self._clock.monotonic()))

    def _hear_marathon(self, item: StreamItem) -> None:
        now = self._clock.monotonic()
        match item:
            case Connected(url, leader):
                self._stream.connected(url, leader, now)
                self._reconciler.note_connected()
                self._ask_for_list(now)
            case Disconnected(reason):
                self._stream.disconnected(reason, now)
            case TaskStatus(app_id, task_id, state, _):
                if state.is_terminal:
                    self._reconciler.note_ended(app_id, task_id)
                elif state is TaskState.RUNNING:
                    self._reconciler.note_running(app_id, task_id)
                if state is not TaskState.STAGING:
                    self._hint((app_id,), now)
            case AppChanged(app_ids):
                self._hint(app_ids, now)
            case AppTerminated(app_id):
                self._hint((app_id,), now)
            case EverythingChanged() | Unreadable():
                self._ask_for_list(now + DEBOUNCE)
            case Subscribed() | Ignored():
                pass
            case _:
                assert_never(item)

    def _hear_datastore(self, message: FeedMessage) -> None:
        now = self._clock.monotonic()
        hosts = dict(self._stored.hosts)
        match message:
            case Loaded(prefix, listing):
                if prefix == HOSTS:
                    self._stored.load_hosts(listing)
                elif prefix == POOLS:
                    self._stored.load_pools(listing)
                else:
                    self._stored.load_applied(listing)
                self._loaded.add(prefix)
            case Changed(prefix, event):
                self._stored.apply(prefix, event)
            case Unreachable(prefix, reason):
                log.warning("datastore lost", extra={"prefix": prefix, "why": reason})
                return
            case _:
                assert_never(message)
        self._follow_up(prefix, hosts, now)

    def _follow_up(self, prefix: Prefix, hosts: Mapping[HostName, HostRecord], now: float) -> None:
        """Ask for what a change below a prefix concerns; `hosts` were there before."""
        if prefix != POOLS and self._reconciler.adoption.closed:
            self._queue.add(Chore.STORE, now)
        elif prefix == APPLIED and self._stored.doubting():
            self._queue.add(Chore.STORE, now + HEAR_EVERY)
        if prefix == HOSTS:
            if self._stored.departed_hosts:
                self._queue.add(Chore.HOSTS, now)
            if self._stored.hosts != hosts:
                self._queue.add(Chore.HOSTS, now)
                self._queue.add(Chore.SWEEP, now)
                self._enqueue(self._reconciler.outstanding.pending(), now)
                self._enqueue(self._reconciler.outstanding.gone(), now)
        elif prefix == APPLIED:
            self._enqueue(self._reconciler.outstanding.gone(), now)
            self._enqueue(self._reconciler.outstanding.named(), now)
            self._queue.add(Chore.STRANGERS, now + STRANGE_AFTER)
            if self._reconciler.rests:
                self._queue.add(Chore.SWEEP, now)

    def _work(self, key: Key) -> bool:
        """Do one piece of work; tells whether to look at the same again soon."""
        now = self._clock.monotonic()
        match key:
            case Chore.RELOAD | Chore.LATE:
                self._work_reload(now)
            case Chore.HOSTS:
                self._reconciler.register_hosts()
            case Chore.RESYNC:
                self._work_resync(now)
            case Chore.FINISH:
                # One at a time, so that an app which is due goes between.
                if self._reconciler.finish_one():
                    self._queue.add(Chore.FINISH, now)
            case Chore.SWEEP:
                self._work_sweep(now)
            case Chore.STRANGERS:
                self._work_strangers(now)
            case Chore.STORE:
                self._work_store(now)
            case Chore.PIN:
                self._work_pin(now)
            case app_id:
                self._queue.add(Chore.FINISH, now + FINISH_AFTER)
                self._pace.looked(AppId(app_id), now)
                look = self._reconciler.reconcile_app(AppId(app_id))
                if look.withdrew or look.awaited:
                    self._queue.add(Chore.SWEEP, now)
                return look.again
        return False

    def _work_reload(self, now: float) -> None:
        first = not self._prepared
        if first:
            self._outlook.prepare()
            self._allow(self._outlook.allow_from.load())
        is_news = self._reconciler.load()
        self._reloads.done()
        if first or is_news:
            # Whoever changed something may have changed more than was refused.
            self._ask_for_list(now)
            self._queue.add(Chore.STORE, now + HEAR_EVERY)
        if first:
            self._prepared, self.blocked = True, ""
            self._queue.add(Chore.LATE, now + LATE_AFTER)
            self._queue.add(Chore.PIN, now + PIN_EVERY)

    def _work_pin(self, now: float) -> None:
        """Tell soon, and not with the next list, that what is pinned cannot be read."""
        self._queue.add(Chore.PIN, now + PIN_EVERY)
        self._reconciler.look_at_pin()
        if self.blocked:
            self.blocked = ""
            # Whom this leader lets in may have been lost with it.
            self._allow(self._outlook.allow_from.load())
            self._ask_for_list(now)

    def _work_sweep(self, now: float) -> None:
        if self._reconciler.sweep():
            self._enqueue(self._reconciler.outstanding.pending(), now)
        self._enqueue(self._reconciler.apps_vacant(), now + LOOK_AGAIN)
        if self._reconciler.rests:
            self._queue.add(Chore.SWEEP, now + SWEEP_EVERY)

    def _work_store(self, now: float) -> None:
        """Hear of what hosts hold; once more is given, or nothing any more, all is looked at."""
        adoption = self._reconciler.adoption
        before = adoption.closed, adoption.reason
        self._reconciler.look_at_store(self._between)
        if adoption.closed:
            self._queue.add(Chore.STORE, now + HEAR_EVERY)
        if before != (adoption.closed, adoption.reason):
            self._ask_for_list(now)

    def _work_strangers(self, now: float) -> None:
        """Ask for a list once for whom nobody has told of between two looks.

        Most are told of by an event before that; other frameworks' never are.
        """
        strangers = self._stored.strangers(self._strangers)
        lasting = (strangers & self._strangers) - self._listed
        if lasting:
            self._ask_for_list(now)
        if strangers - self._strangers:
            self._queue.add(Chore.STRANGERS, now + STRANGE_AFTER)
        self._listed = (self._listed | lasting) & strangers
        self._strangers = strangers

    def _work_resync(self, now: float) -> None:
        # The next one first: it stands whatever becomes of this one.
        spread = self._resync * (1 + JITTER * (2 * self._jitter() - 1))
        self._queue.add(Chore.RESYNC, now + spread)
        timed, self._asked = not self._asked, False
        done = self._reconciler.resync(self._between)
        self.last_resync, self._unheard = self._clock.monotonic(), ""
        now = self.last_resync
        if timed and done.writes:
            self._metrics.drift.inc(done.writes)
            log.warning("drift found by a timed list", extra={"writes": done.writes})
        if done.leader is not None:
            if done.trust is Trust.OURS:
                # For good: whoever is let in is never taken away again.
                self._allow(self._outlook.allow_from.learn(done.leader))
            if self._stream.is_deposed(done.leader):
                self._outlook.reconnect()
        if self._reconciler.adoption.closed:
            self._queue.add(Chore.STORE, now + HEAR_EVERY)
        if done.waits:
            self._queue.add(Chore.RESYNC, now + CONFIRM_AFTER)
        for chore in (Chore.HOSTS, Chore.SWEEP, Chore.FINISH):
            self._queue.add(chore, now)
        self._enqueue(self._reconciler.outstanding.awaited(), now + LOOK_AGAIN)
        # The list was read: what stands out is read app by app.
        for app_id, failure in done.failures.items():
            self._refused(app_id, failure)

    def _allow(self, sources: tuple[IPNetwork, ...]) -> None:
        policy = self._reconciler.policy
        if sources != policy.allow_from:
            self._reconciler.policy = replace(policy, allow_from=sources)
            self._ask_for_list(self._clock.monotonic())

    def _ask_for_list(self, due: float) -> None:
        self._asked = True
        self._queue.add(Chore.RESYNC, due)

    def _between(self) -> None:
        for message in self._outlook.listen():
            self.handle(message)

    def _hint(self, app_ids: Iterable[AppId], now: float) -> None:
        """Read apps that Marathon's events name, a storm of them not for each event."""
        for app_id in app_ids:
            self._queue.add(app_id, self._pace.due(app_id, now))

    def _enqueue(self, app_ids: Iterable[AppId], due: float) -> None:
        for app_id in app_ids:
            self._queue.add(app_id, due)

    def _refused(self, key: Key, error: CalicoError | MarathonError) -> None:
        if isinstance(error, Conflict):
            # What is cached is older than the store: read all of it anew.
            self._queue.add(Chore.RELOAD, self._reloads.due(key, self._clock.monotonic()))
        if key is Chore.RESYNC and isinstance(error, MarathonError):
            self._unheard = str(error)
        delay = self._put_off(key, "failed")
        # A remote that stays away would else fill the log with one sentence.
        reason = str(error)
        is_told = reason in (self._told.get(key), self.blocked)
        if isinstance(error, UnreadablePin):
            self.blocked = reason
        if not is_told:
            self._told[key] = reason
            log.warning(
                "will be tried again",
                extra={"key": _word(key), "in_seconds": round(delay, 1), "why": reason},
            )

    def _put_off(self, key: Key, outcome: str) -> float:
        """Have it tried again; tells in how many seconds."""
        self._metrics.reconciles.labels(outcome).inc()
        return self._queue.failed(key, self._clock.monotonic())


def _word(key: Key) -> str:
    return key.value if isinstance(key, Chore) else key
