"""An Attacher in front of another, which for once cannot do what it is asked."""

from calico.model import ContainerId
from reconciler.attach.api import Attached, AttachUnavailable
from reconciler.attach.memory import MemoryAttacher


class BusyAttacher(MemoryAttacher):
    """Gives networks; to look or to take away it does not get."""

    def detach(self, container: ContainerId, device: str = "") -> bool:
        """See Attacher."""
        raise AttachUnavailable(f"{container} {device} is under way")

    def check(self, container: ContainerId) -> Attached:
        """See Attacher."""
        raise AttachUnavailable(f"{container} is under way")
