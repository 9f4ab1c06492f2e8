"""Which tasks are proven gone: wired once, link vanished, nobody in the namespace."""

from collections.abc import Callable, Collection, Iterable, Mapping

from calico.dataplane.changes import NamespaceRef
from calico.model import TaskId

#: Those of some namespaces that a process is still in.
StillHeld = Callable[[Iterable[NamespaceRef]], Collection[NamespaceRef]]

#: No namespace has this inode: it stands for one of an earlier boot.
ENDED_WITH_ITS_BOOT = 0


class Evidence:
    """Namespaces of the tasks that were wired, as long as they are desired."""

    def __init__(self, still_held: StillHeld) -> None:
        self._still_held = still_held
        self._attached: dict[TaskId, NamespaceRef] = {}
        self._gone: set[TaskId] = set()

    @property
    def attached(self) -> Mapping[TaskId, NamespaceRef]:
        """Where each wired task lives, as a value of its own."""
        return dict(self._attached)

    @property
    def gone(self) -> frozenset[TaskId]:
        """Tasks that are proven gone and still desired."""
        return frozenset(self._gone)

    def restore(self, attached: Mapping[TaskId, NamespaceRef], *, same_boot: bool) -> None:
        """Take over what an earlier run knew; a reboot ended every namespace."""
        for task, ref in attached.items():
            self._attached[task] = (
                ref if same_boot else NamespaceRef(ref.pid, ref.start_time, ENDED_WITH_ITS_BOOT)
            )

    def wired(self, task: TaskId, ref: NamespaceRef) -> None:
        """A task's link was made, or found complete, in this namespace."""
        # Last in the order of the dict: a reused inode is the newest task's.
        self._attached.pop(task, None)
        self._attached[task] = ref
        self._gone.discard(task)

    def owner(self, inode: int) -> TaskId | None:
        """The task that was wired in a namespace last."""
        return next(
            (task for task, ref in reversed(self._attached.items()) if ref.inode == inode), None
        )

    def weigh(self, desired: Collection[TaskId], linked: Collection[TaskId]) -> None:
        """Judge the tasks that were wired, given those that still have a link.

        What is no longer desired is forgotten.
        """
        self._attached = {task: ref for task, ref in self._attached.items() if task in desired}
        self._gone &= set(desired)
        lost = {
            task: ref
            for task, ref in self._attached.items()
            if task not in linked and task not in self._gone
        }
        if not lost:
            return
        held = frozenset(self._still_held(lost.values()))
        for task, ref in lost.items():
            # A namespace that a later task was wired in is that task's: numbers
            # of namespaces are reused like those of processes.
            if ref not in held or self.owner(ref.inode) != task:
                self._gone.add(task)
