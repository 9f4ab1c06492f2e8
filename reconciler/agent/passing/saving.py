"""Which state an agent keeps on disk, and when."""

from collections.abc import Callable, Mapping

from calico.dataplane.changes import NamespaceRef
from calico.datastore.api import Key, Listing
from calico.model import BootId, HostName, TaskId
from reconciler.agent.belief import View
from reconciler.agent.state_file import SavedState


class Saving:
    """Knows what was saved last; used by one thread."""

    def __init__(self, host: HostName, boot_id: BootId) -> None:
        self._host = host
        self._boot_id = boot_id
        self._saved: tuple[View, Mapping[TaskId, NamespaceRef], bool] | None = None

    def changed(
        self,
        view: View,
        attached: Mapping[TaskId, NamespaceRef],
        listings: Callable[[], Mapping[Key, Listing]],
        *,
        vouched: bool,
    ) -> SavedState | None:
        """What to save of a view, if that changed; `listings` are what it was made of."""
        before = self._saved
        if before is not None and before[0] is view and before[1:] == (attached, vouched):
            return None
        found = listings()
        if not found:
            return None
        self._saved = (view, attached, vouched)
        return SavedState(
            host=self._host,
            boot_id=self._boot_id,
            listings=found,
            attached=attached,
            vouched=vouched,
        )
