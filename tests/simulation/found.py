"""What Marathon names again that it gave up, and whose removal of it is no defect."""

from collections.abc import Callable

from calico.keys import LEADER, parse_endpoint_key
from calico.model import TaskId
from marathon_client.models import AppId
from tests.simulation.twins.etcd import Write
from tests.simulation.twins.marathon import EVERY_APP

#: Seconds within which a leader that goes on all along has written a task again.
OUTRUN = 40.0
_NEVER = float("inf")


class FoundAgain:
    """Follows which controllers may know by now that a task is back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        #: Of each task that was found again, since when which controllers know.
        self._known: dict[TaskId, dict[str, float]] = {}
        #: Who leads, and since when without a break.
        self._leads: tuple[str, float] = ("", 0.0)

    def note_found(self, task: TaskId) -> None:
        """Marathon names a task again."""
        self._known[task] = {}

    def note_answer(self, process: str, app: AppId) -> None:
        """A controller was answered the truth about an app, or about all."""
        for task, known in self._known.items():
            if app in (EVERY_APP, f"/{task.partition('.')[0]}"):
                known.setdefault(process, self._now())

    def note_write(self, write: Write) -> TaskId | None:
        """The task whose endpoint a write takes away, if that is excused.

        It is if that was decided before its writer knew that the task is back.
        Not so what the one who leads all along could have outrun: it writes
        again what a delete of its own without an answer may still take.
        """
        if write.key == LEADER:
            self._note_leader(write)
        endpoint = parse_endpoint_key(write.key)
        task = None if endpoint is None else TaskId(endpoint.workload)
        if write.value is not None or task is None or task not in self._known:
            return None
        known = self._known[task].get(write.process, _NEVER)
        leader, since = self._leads
        outrun = known + OUTRUN < self._now() and leader == write.process and since < write.sent
        return task if write.sent <= known and not outrun else None

    def _note_leader(self, write: Write) -> None:
        if write.value is not None and (write.before is None or write.process != self._leads[0]):
            self._leads = (write.process, self._now())
