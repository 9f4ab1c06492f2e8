"""Which words of a task's end are older than what Marathon told since; pure."""

import math
from collections import OrderedDict

from calico.model import TaskId

#: Tasks of which it is kept when they ran or ended; the oldest go first.
MOST_TASKS = 10_000
#: Seconds by which events may be out of order, and answers of Marathon behind events.
BEHIND = 2.0
#: Seconds that no event is late: the clock that tells them was set back.
SET_BACK = 600.0


class EventOrder:
    """Orders the events of one leader, by its own clock alone.

    Times are seconds as events carry them. A read has none: it is as new as the
    newest event that was heard before it was asked for, or newer.
    """

    def __init__(self) -> None:
        self._leader: str | None = None
        #: Which clock tells; times of two are not compared.
        self.epoch = 0
        #: The newest time that was told; None if none was.
        self.newest: float | None = None
        self._running: OrderedDict[TaskId, float] = OrderedDict()
        self._ended: OrderedDict[TaskId, float] = OrderedDict()

    def begin_anew(self, leader: str | None) -> None:
        """What is told from now on may be by another clock, that of this leader."""
        self._leader, self.newest = leader, None
        self.epoch += 1
        self._running.clear()
        self._ended.clear()

    def note_leader(self, leader: str | None) -> None:
        """Whose list was read: if it is not who tells events, these order nothing."""
        if self._leader not in (None, leader):
            self.begin_anew(leader)
        self._leader = leader

    def note_told(self, told: float | None) -> None:
        """An event was told then, of those that are dated alike."""
        if told is None:
            return
        if self.newest is not None and told < self.newest - SET_BACK:
            self.begin_anew(self._leader)
        self.newest = told if self.newest is None else max(told, self.newest)

    def note_running(self, task: TaskId, told: float | None) -> None:
        """The task ran then."""
        _keep(self._running, task, told)

    def note_ended(self, task: TaskId, told: float | None) -> None:
        """The task ended then, which has been heard."""
        _keep(self._ended, task, told)

    def is_late(self, task: TaskId, told: float | None) -> bool:
        """Whether the end of a task comes a second time, or after what was told later."""
        return told is not None and (
            told < self._running.get(task, told)
            or told <= self._ended.get(task, -math.inf)
            or is_outdated(told, self.newest)
        )


def _keep(latest: OrderedDict[TaskId, float], task: TaskId, told: float | None) -> None:
    if told is None:
        return
    latest[task] = max(told, latest.get(task, told))
    latest.move_to_end(task)
    while len(latest) > MOST_TASKS:
        latest.popitem(last=False)


def is_outdated(ended: float | None, newest: float | None) -> bool:
    """Whether a task that was told to have ended would be gone from a read.

    One that was asked for when `newest` was the newest event. What names the task
    then shows that it was found again.
    """
    return ended is not None and newest is not None and ended < newest - BEHIND
