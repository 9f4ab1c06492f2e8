"""The seam to whoever knows in which network namespace a task runs."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from calico.dataplane.changes import NamespaceRef
from calico.errors import DataplaneError, NamespaceGone
from calico.model import TaskId

#: What a locator is called in flags and by its host's registration.
LocatorName = Literal["mesos", "docker", "proc"]
LOCATOR_NAMES: tuple[LocatorName, ...] = get_args(LocatorName)
#: By which Mesos tells a task its own id.
TASK_VARIABLE = "MESOS_TASK_ID"

#: Names the namespace of a process; raises NamespaceGone or NamespaceRefused.
Identify = Callable[[int], NamespaceRef]


@dataclass(frozen=True, slots=True)
class Located:
    """What a search found: namespaces, and why others have none.

    A task is in at most one of the two; one that is in neither was not found.
    """

    namespaces: Mapping[TaskId, NamespaceRef] = field(default_factory=dict)
    refused: Mapping[TaskId, str] = field(default_factory=dict)


class LocatorUnavailable(Exception):
    """The locator could not look; the message names what to look after."""


class Locator(Protocol):
    """Finds the network namespaces of tasks by one kind of evidence."""

    @property
    def name(self) -> LocatorName:
        """Which of the kinds it is."""
        ...

    def find(self, tasks: Collection[TaskId]) -> Located:
        """Look for some tasks; raises LocatorUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Search:
    """Tasks that a search was made for, what it found and who could not look."""

    tasks: frozenset[TaskId]
    located: Located = Located()
    unavailable: tuple[str, ...] = ()


def locate(locators: Sequence[Locator], tasks: frozenset[TaskId]) -> Search:
    """Ask every locator; what they disagree on is refused."""
    found: list[Located] = []
    unavailable: list[str] = []
    for locator in locators:
        try:
            found.append(locator.find(tasks))
        except LocatorUnavailable as error:
            unavailable.append(str(error))
    refused = {task: why for each in found for task, why in each.refused.items()}
    sightings = [
        (task, ref) for each in found for task, ref in each.namespaces.items() if task in tasks
    ]
    agreed = agree(sightings)
    return Search(
        tasks,
        Located(
            {task: ref for task, ref in agreed.namespaces.items() if task not in refused},
            {**agreed.refused, **refused},
        ),
        tuple(unavailable),
    )


def identify_all(
    pids: Iterable[tuple[TaskId, int]], identify: Identify, own: Collection[int], asked: int
) -> Located:
    """The namespaces of processes that speak for tasks; `own` are no task's.

    A process that ended meanwhile counts for nothing. So does one that began
    when it was `asked` for them, or later: it may have the pid of the one that
    was meant. The next search finds it, if it is the task's.
    """
    sightings: list[tuple[TaskId, NamespaceRef]] = []
    refused: dict[TaskId, str] = {}
    for task, pid in pids:
        try:
            ref = identify(pid)
        except NamespaceGone:
            continue
        except DataplaneError as error:
            refused[task] = str(error)
            continue
        if ref.start_time >= asked:
            continue
        if ref.inode in own:
            refused[task] = f"process {pid} is in the host's network namespace, not in its own"
            continue
        sightings.append((task, ref))
    agreed = agree(sightings)
    # One process in a namespace of its own outweighs another that has none: a
    # Mesos executor may stay on the host while its task does not.
    return Located(
        agreed.namespaces,
        {task: why for task, why in refused.items() if task not in agreed.namespaces}
        | dict(agreed.refused),
    )


def agree(sightings: Iterable[tuple[TaskId, NamespaceRef]]) -> Located:
    """One namespace per task and one task per namespace, or neither."""
    refs_by_task: dict[TaskId, dict[int, NamespaceRef]] = {}
    tasks_by_inode: dict[int, set[TaskId]] = {}
    for task, ref in sightings:
        known = refs_by_task.setdefault(task, {}).get(ref.inode)
        # The oldest process is the likeliest to stay until the task is wired.
        if known is None or (ref.start_time, ref.pid) < (known.start_time, known.pid):
            refs_by_task[task][ref.inode] = ref
        tasks_by_inode.setdefault(ref.inode, set()).add(task)
    namespaces: dict[TaskId, NamespaceRef] = {}
    refused: dict[TaskId, str] = {}
    for task, refs in refs_by_task.items():
        shared = {other for inode in refs for other in tasks_by_inode[inode]} - {task}
        if len(refs) > 1:
            refused[task] = "processes in different network namespaces say that they are this task"
        elif shared:
            refused[task] = f"its network namespace is shared with task {min(shared)}"
        else:
            (namespaces[task],) = refs.values()
    return Located(namespaces, refused)
