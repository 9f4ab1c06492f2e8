"""Which state an agent keeps on disk, and when."""

from collections.abc import Mapping

from calico.dataplane.changes import NamespaceRef
from calico.datastore.api import Key, Revision
from calico.model import BootId, HostName, TaskId
from reconciler.agent.belief import Belief, View
from reconciler.agent.state_file import SavedState

#: Seconds without a change after which the index of then is saved.
INDEX_AFTER = 60.0


class IndexSchedule:
    """When a state is saved anew in which nothing changed but the store's index.

    The longer nothing changes, the rarer: each wait is twice as long as the one
    before, so that the file is about half as old as the last change at most.
    """

    def __init__(self) -> None:
        self._saved: Mapping[Key, Revision] = {}
        self._wait = INDEX_AFTER
        self._due = 0.0

    def is_due(self, reached: Mapping[Key, Revision], now: float) -> bool:
        """Whether to save an index now."""
        return now >= self._due and reached != self._saved

    def note(self, reached: Mapping[Key, Revision], now: float, *, anew: bool) -> None:
        """A state was saved with this index, `anew` because of something else."""
        self._saved = dict(reached)
        self._wait = INDEX_AFTER if anew else self._wait * 2
        self._due = now + self._wait


class SaveSchedule:
    """Knows what was saved last; used by one thread."""

    def __init__(self, host: HostName, boot_id: BootId) -> None:
        self._host = host
        self._boot_id = boot_id
        self._index = IndexSchedule()
        self._saved: tuple[View, Mapping[TaskId, NamespaceRef], bool] | None = None

    def changed(
        self,
        belief: Belief,
        attached: Mapping[TaskId, NamespaceRef],
        now: float,
        *,
        vouched: bool,
    ) -> SavedState | None:
        """What to save, if that changed; where only the index did, rarely."""
        view, before = belief.judge(), self._saved
        is_same = before is not None and before[0] is view and before[1:] == (attached, vouched)
        if is_same and not self._index.is_due(belief.reached, now):
            return None
        found = belief.listings()
        if not found:
            return None
        self._index.note(belief.reached, now, anew=not is_same)
        self._saved = (view, attached, vouched)
        return SavedState(
            host=self._host,
            boot_id=self._boot_id,
            listings=found,
            attached=attached,
            doubted=belief.doubted,
            vouched=vouched,
        )
