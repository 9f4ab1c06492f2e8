"""Which tasks to look for and when, what was found, and why others were not."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from calico.dataplane.changes import NamespaceRef
from calico.model import EndpointId, EndpointSpec, InterfaceName, TaskId
from reconciler.agent.locators.api import Search
from reconciler.agent.observation.evidence import Evidence

FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0
#: Seconds between two searches for tasks that are wired, but not known where.
LEARN_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class _Wait:
    due: float
    delay: float


class Searches:
    """Tasks that are waited for, each with its own backoff; owned by one thread.

    One search goes on at a time: an agent of Mesos that is slow is not asked
    again before it has answered.
    """

    def __init__(self) -> None:
        self._waits: dict[TaskId, _Wait] = {}
        self._found: dict[TaskId, NamespaceRef] = {}
        self._reasons: dict[TaskId, str] = {}
        self._going_on = False
        self._learn_due = float("-inf")
        self._hurried = False
        self._arrived: set[EndpointId] = set()

    def note_arrived(self, endpoint: EndpointId) -> None:
        """An event told of an endpoint of this host: its task is searched for before all else."""
        self._arrived.add(endpoint)

    @property
    def has_arrived(self) -> bool:
        """Whether events told of endpoints since they were asked about last."""
        return bool(self._arrived)

    def forget_arrived(self) -> None:
        """Nothing is to be made of what events told."""
        self._arrived = set()

    def begin_arrived(
        self,
        specs: Mapping[EndpointId, EndpointSpec],
        attached: Collection[InterfaceName],
        linked: Collection[TaskId],
        now: float,
    ) -> frozenset[TaskId]:
        """Tasks to search for now, those that arrived as well.

        Not those that are `linked`, nor what a plugin `attached`.
        """
        arrived = {
            TaskId(each.workload)
            for each in self._arrived
            if each in specs and specs[each].interface not in attached
        }
        self.forget_arrived()
        for task in arrived.difference(linked):
            self._waits.setdefault(task, _Wait(now, FIRST_DELAY))
        return self.begin(now)

    def want(self, tasks: Iterable[TaskId], now: float) -> None:
        """Search for exactly these; those that are new are due at once."""
        self._waits = {task: self._waits.get(task, _Wait(now, FIRST_DELAY)) for task in tasks}
        self._reasons = {task: why for task, why in self._reasons.items() if task in self._waits}

    def hurry(self, now: float) -> None:
        """Search at once for all that are waited for or unknown: a container has just started.

        A search that goes on may have asked before it did, so it is made again.
        """
        self._waits = {task: _Wait(now, FIRST_DELAY) for task in self._waits}
        self._learn_due = now
        self._hurried = self._going_on

    def begin(self, now: float, unknown: Collection[TaskId] = ()) -> frozenset[TaskId]:
        """Tasks to search for now; none while a search goes on.

        `unknown` are tasks that were wired before this agent started: where
        they live is evidence for when they end, so they are asked for at times.
        """
        if self._going_on:
            return frozenset()
        tasks = frozenset(task for task, wait in self._waits.items() if wait.due <= now)
        if unknown and now >= self._learn_due:
            self._learn_due = now + LEARN_EVERY
            tasks |= frozenset(unknown)
        self._going_on = bool(tasks)
        return tasks

    def next_due(self) -> float | None:
        """When the next search is due; None if there is nothing to begin."""
        if self._going_on:
            return None
        return min((wait.due for wait in self._waits.values()), default=None)

    def take_in(
        self, search: Search, evidence: Evidence, linked: Collection[TaskId], now: float
    ) -> None:
        """End a search with what it found; tasks in `linked` are wired already."""
        hurried, self._going_on, self._hurried = self._hurried, False, False
        unavailable = "; ".join(search.unavailable)
        for task in search.tasks:
            ref = search.located.namespaces.get(task)
            owner = None if ref is None else evidence.owner(ref.inode)
            if ref is None:
                self._reasons[task] = search.located.refused.get(task, unavailable)
            elif owner not in (None, task) and owner in linked:
                self._reasons[task] = f"its network namespace is that of task {owner}"
            elif task in linked:
                evidence.wired(task, ref)
            else:
                self._found[task] = ref
                self._reasons.pop(task, None)
            wait = self._waits.get(task)
            if wait is not None and not hurried:
                delay = min(LONGEST_DELAY, wait.delay * 2)
                self._waits[task] = _Wait(now + wait.delay, delay)

    @property
    def has_found(self) -> bool:
        """Whether something was found that was not taken out yet."""
        return bool(self._found)

    def take_found(self) -> dict[TaskId, NamespaceRef]:
        """What was found since the last time; it may be old by the next."""
        found, self._found = self._found, {}
        return found

    def why_not(self, task: TaskId) -> str:
        """Why the last search did not find a task; empty for no special reason."""
        return self._reasons.get(task, "")
