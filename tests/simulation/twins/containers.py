"""What containers have on a host in memory: files of their agent, and namespaces by descriptor."""

from collections.abc import Callable
from dataclasses import replace

from calico.dataplane.changes import NamespaceRef
from calico.model import ContainerId, InterfaceName
from reconciler.agent.attachments.files import KeptAttachment, parse_attachment, render_attachment
from reconciler.agent.state_file import seal, unseal
from reconciler.attach.api import Place
from tests.simulation.twins.host import HostTwin


class FilesTwin:
    """One agent's files of containers; of the form of `AttachmentFiles`.

    The agent may be killed before each change of them, as before one of the kernel.
    """

    def __init__(self, host: HostTwin, step: Callable[[], None]) -> None:
        self._host = host
        self._boot_id = host.boot_id
        self._step = step

    def read(self) -> tuple[KeptAttachment, ...]:
        """See AttachmentFiles."""
        found = []
        for _, content in sorted(self._host.files.items()):
            attachment, boot_id = parse_attachment(unseal(content))
            if boot_id != self._boot_id:
                attachment = replace(attachment, detached=True)
            found.append(attachment)
        return tuple(found)

    def write(self, attachment: KeptAttachment) -> None:
        """See AttachmentFiles."""
        self._step()
        self._host.files[attachment.container] = seal(render_attachment(attachment, self._boot_id))

    def remove(self, container: ContainerId) -> None:
        """See AttachmentFiles."""
        self._step()
        self._host.files.pop(container, None)


class NamespacesTwin:
    """A host's namespaces; implements `Namespaces`."""

    def __init__(self, host: HostTwin) -> None:
        self._host = host

    def open(self, place: Place) -> int:
        """See Namespaces."""
        return self._host.open_namespace(self._host.opened[place.descriptor])

    def identify(self, descriptor: int, path: str) -> NamespaceRef:  # noqa: ARG002 - it has it
        """See Namespaces."""
        return self._host.opened[descriptor]

    def close(self, descriptor: int) -> None:
        """See Namespaces."""
        del self._host.opened[descriptor]

    def not_for_tasks(self) -> frozenset[int]:
        """See Namespaces."""
        return frozenset()

    def devices_inside(self, descriptor: int) -> frozenset[str]:
        """See Namespaces."""
        inside = self._host.dataplane.inside().values()
        return frozenset({"eth0"} if self._host.opened[descriptor] in inside else ())

    def exists(self, interface: InterfaceName) -> bool:
        """See Namespaces."""
        return interface in self._host.dataplane.inside()
