"""Containers, and endpoints that claim them, for tests."""

from netaddr import IPAddress

from calico.dataplane.changes import NamespaceRef
from calico.model import ContainerId, EndpointSpec, ProfileId, TaskId
from calico.names import endpoint_of_task, interface_of_container, mac_of_container
from reconciler.agent.attachments.files import KeptAttachment
from tests.unit.agent.world import HOST

SINCE = "2016-08-05T12:00:02Z"


def attachment(container: str, *addresses: str, inode: int = 0, device: str = "") -> KeptAttachment:
    """What a container has; it is attached if it has an inode."""
    return KeptAttachment(
        ContainerId(container),
        tuple(map(IPAddress, addresses)),
        SINCE,
        device or ("eth0" if inode else ""),
        NamespaceRef(0, 0, inode, inode, f"/run/netns/{container}") if inode else None,
    )


def claim(task: str, of: KeptAttachment, *profiles: str) -> EndpointSpec:
    """The endpoint by which a task claims a container."""
    return EndpointSpec(
        endpoint_of_task(HOST, TaskId(task)),
        interface_of_container(of.container),
        mac_of_container(of.container),
        of.addresses,
        tuple(map(ProfileId, profiles)),
    )
