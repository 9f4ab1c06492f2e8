"""When to look again for the namespaces of tasks that have none yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from calico.model import TaskId

FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0


@dataclass(frozen=True, slots=True)
class _Wait:
    due: float
    delay: float


class Searches:
    """Tasks that are waited for, each with its own backoff; owned by one thread."""

    def __init__(self) -> None:
        self._waits: dict[TaskId, _Wait] = {}

    def want(self, tasks: Iterable[TaskId], now: float) -> None:
        """Search for exactly these; those that are new are due at once."""
        self._waits = {task: self._waits.get(task, _Wait(now, FIRST_DELAY)) for task in tasks}

    def missed(self, tasks: Iterable[TaskId], now: float) -> None:
        """A search has not found these: look again, later each time."""
        for task in tasks:
            wait = self._waits.get(task)
            if wait is not None:
                self._waits[task] = _Wait(now + wait.delay, min(LONGEST_DELAY, wait.delay * 2))

    def due(self, now: float) -> frozenset[TaskId]:
        """Those whose time has come."""
        return frozenset(task for task, wait in self._waits.items() if wait.due <= now)

    def next_due(self) -> float | None:
        """When the next search is due; None if nothing is waited for."""
        return min((wait.due for wait in self._waits.values()), default=None)
