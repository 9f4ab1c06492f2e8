"""The controller's one loop: what its feeds say, and what is due, in turn."""

import enum
import logging
from collections.abc import Callable
from typing import assert_never

from calico.errors import CalicoError, Conflict
from calico.keys import APPLIED, HOSTS
from calico.model import TaskId
from marathon_client.errors import MarathonError
from marathon_client.events import (
    AppChanged,
    AppTerminated,
    Attached,
    EverythingChanged,
    Ignored,
    TaskStatus,
    Unreadable,
)
from marathon_client.models import AppId, TaskState
from marathon_client.stream import Connected, Disconnected, StreamItem
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.stored import StoredState
from reconciler.core.withdrawal import CONFIRM_AFTER
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable
from reconciler.runtime.workqueue import WorkQueue

log = logging.getLogger(__name__)

#: Seconds between looks at addresses that rest.
SWEEP_EVERY = 5.0
#: Seconds that a complete list waits for more events that ask for one: a group
#: change names everything, and the events of its apps follow it closely.
DEBOUNCE = 0.5
#: Seconds after which what only Calico's tools read follows.
FINISH_AFTER = 1.0
#: Share of the resync interval by which it varies.
JITTER = 0.2


class Chore(enum.Enum):
    """Work that is not about one app."""

    RELOAD = "reload"
    HOSTS = "hosts"
    RESYNC = "resync"
    FINISH = "finish"
    SWEEP = "sweep"


Key = AppId | Chore
Message = StreamItem | FeedMessage


class ControllerLoop:
    """Owns the queue; every method is called by one thread."""

    def __init__(
        self,
        reconciler: Reconciler,
        stored: StoredState,
        prepare: Callable[[], None],
        clock: Clock,
        jitter: Callable[[], float],
        resync: float,
        metrics: ControllerMetrics,
    ) -> None:
        self._reconciler = reconciler
        self._stored = stored
        self._prepare = prepare
        self._clock = clock
        self._jitter = jitter
        self._resync = resync
        self._metrics = metrics
        self._queue: WorkQueue[Key] = WorkQueue(jitter)
        self._loaded: set[object] = set()
        self._told: dict[Key, str] = {}
        self._stream_lost = ""
        self.last_resync: float | None = None
        self._queue.add(Chore.RELOAD, clock.monotonic())

    def handle(self, message: Message) -> None:
        """Take one message in: it marks keys dirty and is otherwise forgotten."""
        match message:
            case Loaded() | Changed() | Unreachable():
                self._hear_datastore(message)
            case _:
                self._hear_marathon(message)

    def _hear_marathon(self, item: StreamItem) -> None:
        now = self._clock.monotonic()
        match item:
            case Connected(url, leader):
                self._stream_lost = ""
                log.info("event stream connected", extra={"url": url, "leader": leader})
                self._queue.add(Chore.RESYNC, now)
            case Disconnected(reason):
                # Told for every attempt; a Marathon that stays away is one line.
                if reason != self._stream_lost:
                    log.warning("event stream lost", extra={"why": reason})
                self._stream_lost = reason
            case TaskStatus(app_id, task_id, state, _):
                if state.is_terminal:
                    self._reconciler.note_terminal(TaskId(task_id))
                if state is not TaskState.STAGING:
                    self._queue.add(app_id, now)
            case AppChanged(app_ids):
                for app_id in app_ids:
                    self._queue.add(app_id, now)
            case AppTerminated(app_id):
                self._queue.add(app_id, now)
            case EverythingChanged() | Unreadable():
                self._queue.add(Chore.RESYNC, now + DEBOUNCE)
            case Attached() | Ignored():
                pass
            case _:
                assert_never(item)

    def _hear_datastore(self, message: FeedMessage) -> None:
        now = self._clock.monotonic()
        match message:
            case Loaded(prefix, listing):
                if prefix == HOSTS:
                    self._stored.load_hosts(listing)
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
        if prefix == HOSTS:
            self._queue.add(Chore.HOSTS, now)
        for app_id in self._reconciler.apps_waiting():
            self._queue.add(app_id, now)

    def step(self) -> bool:
        """Do what is due longest; tells whether anything was.

        Raises LeaseLost, after which this controller must end. Any other
        failure is told once and tried again with backoff.
        """
        if not self._loaded >= {HOSTS, APPLIED}:
            return False
        key = self._queue.pop(self._clock.monotonic())
        if key is None:
            return False
        try:
            self._work(key)
        except LeaseLost:
            raise
        except (CalicoError, MarathonError) as error:
            if isinstance(error, Conflict):
                # What is cached is older than the store: read all of it anew.
                self._queue.add(Chore.RELOAD, self._clock.monotonic())
            self._failed(key, str(error))
        except Exception:
            log.exception("defect", extra={"key": _word(key)})
            self._failed(key, "defect")
        else:
            self._queue.succeeded(key)
            self._told.pop(key, None)
        return True

    def wait(self) -> float:
        """Seconds until something is due; 1 at most."""
        due = self._queue.next_due()
        if due is None or not self._loaded >= {HOSTS, APPLIED}:
            return 1.0
        return min(1.0, max(0.0, due - self._clock.monotonic()))

    def _work(self, key: Key) -> None:
        now = self._clock.monotonic()
        match key:
            case Chore.RELOAD:
                self._prepare()
                self._queue.add(Chore.RESYNC, now)
            case Chore.HOSTS:
                self._reconciler.register_hosts()
            case Chore.RESYNC:
                # The next one first: it stands whatever becomes of this one.
                spread = self._resync * (1 + JITTER * (2 * self._jitter() - 1))
                self._queue.add(Chore.RESYNC, now + spread)
                waits = self._reconciler.resync()
                self.last_resync = self._clock.monotonic()
                if waits:
                    self._queue.add(Chore.RESYNC, self.last_resync + CONFIRM_AFTER)
                self._queue.add(Chore.SWEEP, self.last_resync)
                self._queue.add(Chore.FINISH, self.last_resync)
            case Chore.FINISH:
                # One at a time, so that an app which is due goes between.
                if self._reconciler.finish_one():
                    self._queue.add(Chore.FINISH, self._clock.monotonic())
            case Chore.SWEEP:
                if self._reconciler.sweep():
                    self._queue.add(Chore.SWEEP, self._clock.monotonic() + SWEEP_EVERY)
            case app_id:
                look = self._reconciler.reconcile_app(AppId(app_id))
                self._queue.add(Chore.FINISH, self._clock.monotonic() + FINISH_AFTER)
                if look.again:
                    self._queue.failed(app_id, self._clock.monotonic())
                    return
                if look.withdrew:
                    self._queue.add(Chore.SWEEP, self._clock.monotonic())

    def _failed(self, key: Key, reason: str) -> None:
        delay = self._queue.failed(key, self._clock.monotonic())
        self._metrics.reconciles.labels("failed").inc()
        # A remote that stays away would else fill the log with one sentence.
        if self._told.get(key) != reason:
            self._told[key] = reason
            log.warning(
                "will be tried again",
                extra={"key": _word(key), "in_seconds": round(delay, 1), "why": reason},
            )


def _word(key: Key) -> str:
    return key.value if isinstance(key, Chore) else key
