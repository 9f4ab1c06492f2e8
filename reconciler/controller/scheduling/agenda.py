"""What the controller has to do, and when."""

import enum
from collections.abc import Callable, Iterable

from marathon_client.models import AppId
from reconciler.runtime.pace import Pace
from reconciler.runtime.workqueue import WorkQueue

#: How often an app is read because of events that name it: so many times at
#: once, then once in so many seconds. A start takes three or four.
READS_AT_ONCE, READ_EVERY = 8, 0.2


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


Key = AppId | Chore


class Agenda:
    """Apps and chores by when they are due, each once; one thread owns it."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(jitter)
        self._pace: Pace[AppId] = Pace(burst=READS_AT_ONCE, every=READ_EVERY)
        #: Whether the next complete list was asked for by more than the timer.
        self._asked = True

    def add(self, key: Key, due: float) -> None:
        """Have one looked at."""
        self.queue.add(key, due)

    def add_apps(self, app_ids: Iterable[AppId], due: float) -> None:
        """Have apps looked at."""
        for app_id in app_ids:
            self.queue.add(app_id, due)

    def hint(self, app_ids: Iterable[AppId], now: float) -> None:
        """Read apps that Marathon's events name, a storm of them not for each event."""
        for app_id in app_ids:
            self.queue.add(app_id, self._pace.due(app_id, now))

    def looked(self, app_id: AppId, now: float) -> None:
        """An app is read now."""
        self._pace.looked(app_id, now)

    def ask_for_list(self, due: float) -> None:
        """Have all of Marathon read, for a reason."""
        self._asked = True
        self.queue.add(Chore.RESYNC, due)

    def take_asked(self) -> bool:
        """Whether the list that begins now was asked for by more than the timer."""
        asked, self._asked = self._asked, False
        return asked
