"""Which tasks the unclaimed containers run: whom to ask about, and when."""

from collections.abc import Collection, Mapping

from calico.model import ContainerId, TaskId

#: Seconds until the first question about a container of which Mesos did not tell
#: when it asked for its addresses.
FIRST_AFTER = 0.1
LONGEST_DELAY = 10.0
#: Seconds for which Mesos may say nothing before that is a problem of the host.
SILENT_FOR = 10.0

UNKNOWN = "attached containers stay closed, since it is not known which tasks they run"


class Questions:
    """Keeps the answers as long as they are of use; owned by one thread."""

    def __init__(self) -> None:
        self._tasks: dict[ContainerId, str] = {}
        self._open: frozenset[ContainerId] = frozenset()
        self._delay = FIRST_AFTER
        self._due: float | None = None
        self._going_on = False
        self._why = ""
        self._silent_since: float | None = None
        #: Why the tasks of some containers stay unknown; empty if none do, or not for long.
        self.problem = ""

    def begin(self, unclaimed: Collection[ContainerId], now: float) -> frozenset[ContainerId]:
        """Containers to ask about now, given those that no task has claimed; none, as a rule."""
        self._tasks = {each: task for each, task in self._tasks.items() if each in unclaimed}
        unknown = frozenset(each for each in unclaimed if each not in self._tasks)
        if unknown - self._open:
            self._delay = FIRST_AFTER
            self._due = now + self._delay
        elif not unknown:
            self._due = None
        self._open = unknown
        self._judge_silence(now)
        if self._due is None or self._going_on or now < self._due:
            return frozenset()
        self._going_on = True
        self._delay = min(LONGEST_DELAY, self._delay * 2)
        self._due = now + self._delay
        return unknown

    def _judge_silence(self, now: float) -> None:
        silent = bool(self._open and self._why)
        since = now if self._silent_since is None else self._silent_since
        self._silent_since = since if silent else None
        lasts = silent and now - since >= SILENT_FOR
        self.problem = f"{UNKNOWN}: {self._why}" if lasts else ""

    def answer(self, tasks: Mapping[ContainerId, frozenset[TaskId]], why: str = "") -> None:
        """Take in what containers run; whoever is not among them is asked about again.

        `why` is why Mesos said nothing.
        """
        self._going_on = False
        self._why = why
        for container in self._open & tasks.keys():
            task = task_among(tasks[container])
            if task:
                self._tasks[container] = task

    def next_due(self) -> float | None:
        """When to ask next; None if there is nothing to ask, or an answer is awaited."""
        return None if self._going_on else self._due

    def task(self, container: ContainerId) -> str:
        """The task that a container runs; empty if it is not known."""
        return self._tasks.get(container, "")


def task_among(names: Collection[TaskId]) -> str:
    """Of what Mesos calls one container's task and executor, the task; empty if it names none.

    An executor's id is made of its task's, so it is the longer one.
    """
    return min(names, key=lambda name: (len(name), name), default="")
