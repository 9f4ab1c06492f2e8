"""What the feeds say, turned into what is due."""

import logging
from collections.abc import Mapping
from typing import assert_never

from calico.datastore.api import Key as Prefix
from calico.keys import APPLIED, HOSTS, POOLS
from calico.model import HostName, HostRecord
from marathon_client.events import (
    AppChanged,
    AppTerminated,
    EverythingChanged,
    Ignored,
    Subscribed,
    TaskStatus,
    Unreadable,
)
from marathon_client.models import TaskState
from marathon_client.stream import Connected, Disconnected, StreamItem
from reconciler.controller.marathon.stream_log import StreamLog
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.scheduling.agenda import Agenda, Chore
from reconciler.controller.stored import StoredState
from reconciler.runtime.clock import Clock
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable

log = logging.getLogger(__name__)

#: Seconds that a complete list waits for more events that ask for one: a group
#: change names everything, and the events of its apps follow it closely.
DEBOUNCE = 0.5
#: Seconds between two looks for containers of tasks that nobody told of.
STRANGE_AFTER = 5.0
#: Seconds between two looks at what hosts hold, while nothing may be given.
HEAR_EVERY = 1.0

Message = StreamItem | FeedMessage


class Intake:
    """Takes messages in: each marks keys due and is otherwise forgotten."""

    def __init__(
        self, reconciler: Reconciler, stored: StoredState, agenda: Agenda, clock: Clock
    ) -> None:
        self._reconciler = reconciler
        self._stored = stored
        self._agenda = agenda
        self._clock = clock
        self._loaded: set[object] = set()
        self.stream = StreamLog()

    @property
    def is_whole(self) -> bool:
        """Whether each prefix was read once without which nothing can be decided."""
        return self._loaded >= {HOSTS, APPLIED}

    def handle(self, message: Message) -> None:
        """Take one message in."""
        match message:
            case Loaded() | Changed() | Unreachable():
                self._hear_datastore(message)
            case _:
                self._hear_marathon(message)

    def _hear_marathon(self, item: StreamItem) -> None:
        now = self._clock.monotonic()
        match item:
            case Connected(url, leader):
                self.stream.connected(url, leader, now)
                self._reconciler.note_connected(leader)
                self._agenda.ask_for_list(now)
            case Disconnected(reason):
                self.stream.disconnected(reason, now)
            case TaskStatus():
                self._hear_status(item, now)
            case AppChanged(app_ids):
                self._agenda.hint(app_ids, now)
            case AppTerminated(app_id):
                self._agenda.hint((app_id,), now)
            case EverythingChanged() | Unreadable():
                self._agenda.ask_for_list(now + DEBOUNCE)
            case Subscribed(told):
                self._reconciler.note_told(told)
            case Ignored():
                pass
            case _:
                assert_never(item)

    def _hear_status(self, status: TaskStatus, now: float) -> None:
        if not status.of_instance:
            self._reconciler.note_told(status.told)
        if status.state.is_terminal:
            self._reconciler.note_ended(status.task_id, status.told)
        elif status.state is TaskState.RUNNING:
            self._reconciler.note_running(status.task_id, status.told)
        if status.state is not TaskState.STAGING:
            self._agenda.hint((status.app_id,), now)

    def _hear_datastore(self, message: FeedMessage) -> None:
        now = self._clock.monotonic()
        hosts = dict(self._stored.hosts)
        match message:
            case Loaded(prefix, listing):
                if prefix == HOSTS:
                    self._stored.registrations.load(listing)
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
            self._agenda.add(Chore.STORE, now)
        elif prefix == APPLIED and self._stored.doubting():
            self._agenda.add(Chore.STORE, now + HEAR_EVERY)
        if prefix == HOSTS:
            if self._stored.registrations.departed:
                self._agenda.add(Chore.HOSTS, now)
            if self._stored.hosts != hosts:
                self._agenda.add(Chore.HOSTS, now)
                self._agenda.add(Chore.SWEEP, now)
                self._agenda.add_apps(self._reconciler.outstanding.pending(), now)
                self._agenda.add_apps(self._reconciler.outstanding.gone(), now)
        elif prefix == APPLIED:
            self._agenda.add_apps(self._reconciler.outstanding.gone(), now)
            self._agenda.add_apps(self._reconciler.outstanding.named(), now)
            self._agenda.add(Chore.STRANGERS, now + STRANGE_AFTER)
            if self._reconciler.rests:
                self._agenda.add(Chore.SWEEP, now)
