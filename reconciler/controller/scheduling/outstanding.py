"""Which apps want a look although no event named them."""

from collections.abc import Callable, Iterator

from calico.model import TaskId, TaskRecord, TaskVerdict
from marathon_client.models import AppId
from reconciler.controller.addresses.grace_periods import GracePeriods
from reconciler.controller.stored import StoredState
from reconciler.core.desired import record_id
from reconciler.core.tasks.attached import tasks_told

#: Seconds for which a task that waits is looked at again without any event.
AWAIT_FOR = 60.0


class Outstanding:
    """Tells by what is stored which apps something may have changed for."""

    def __init__(self, stored: StoredState, now: Callable[[], float]) -> None:
        self._stored = stored
        self._awaited: GracePeriods[TaskId] = GracePeriods(now)

    def keep(self) -> None:
        """Forget for how long those waited that no longer do."""
        self._awaited.keep([record.task for record in self._pending()])

    def pending(self) -> frozenset[AppId]:
        """Apps with a task that waits for something."""
        return frozenset(AppId(record.app) for record in self._pending())

    def named(self) -> frozenset[AppId]:
        """Apps with a task of which its host tells the container, and nobody else has.

        It waits for that, or has been given an address that is not the container's.
        """
        return frozenset(
            AppId(kept.value.app)
            for host in self._stored.hosts
            for each in self._stored.attachments_of(host)
            for task in tasks_told(each.task)
            if (kept := self._stored.records.get(record_id(task))) is not None
            and kept.value.verdict is not TaskVerdict.REFUSED
            and not kept.value.container
        )

    def awaited(self) -> frozenset[AppId]:
        """Apps with a task that waits since a short while: what it waits for may come unseen.

        An address may be late: Mesos reports it without a state that changes,
        hence Marathon without an event.
        """
        return frozenset(app for app in self.pending() if self.awaits(app))

    def awaits(self, app: AppId) -> bool:
        """Whether a task of this app waits since a short while."""
        pending = [
            task
            for task, record in self._stored.records_of(app).items()
            if record.verdict is TaskVerdict.PENDING
        ]
        # Each one's wait begins with the first look, also where another's goes on.
        waits = [self._awaited.lasts(task, AWAIT_FOR) for task in pending]
        return any(waits)

    def gone(self) -> frozenset[AppId]:
        """Apps with a task whose namespace is proven gone."""
        return frozenset(
            AppId(self._stored.records[task].value.app) for task in self._stored.gone()
        )

    def _pending(self) -> Iterator[TaskRecord]:
        for kept in self._stored.records.values():
            if kept.value.verdict is TaskVerdict.PENDING:
                yield kept.value
