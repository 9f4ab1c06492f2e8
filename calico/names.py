"""Names made from an id: endpoint ids, interface names and MAC addresses.

Everything here is a hash of the id, so no user string ever becomes part of a
kernel object's name.
"""

import hashlib

from netaddr import EUI, mac_unix_expanded

from calico.model import (
    INTERFACE_PREFIX,
    ORCHESTRATOR,
    ContainerId,
    EndpointId,
    EndpointSpec,
    HandleId,
    HostName,
    InterfaceName,
    TaskId,
)


def endpoint_of_task(host: HostName, task: TaskId) -> EndpointId:
    """The id of a task's one endpoint on its host."""
    digest = hashlib.sha256(task.encode()).hexdigest()[:32]
    return EndpointId(host=host, orchestrator=ORCHESTRATOR, workload=task, endpoint=digest)


def interface_of(endpoint: EndpointId) -> InterfaceName:
    """Calico's form: `cali` and 11 characters, which fills Linux's 15."""
    return InterfaceName(INTERFACE_PREFIX + endpoint.endpoint[:11])


def mac_of(endpoint: EndpointId) -> EUI:
    """A locally administered unicast address made from the endpoint id."""
    return _mac(endpoint.endpoint)


#: Begins the handle of what a container holds until a task claims it.
CONTAINER_PREFIX = "cni."


def handle_of_container(container: ContainerId) -> HandleId:
    """The handle of a container's addresses until a task claims them."""
    return HandleId(CONTAINER_PREFIX + container)


def reservation_of(endpoint: EndpointId) -> EndpointSpec:
    """What keeps an endpoint's key until the endpoint itself is written over it.

    etcd refuses a swap that comes late, since the key has changed, but not a
    creation: whoever sent it may be stopped, and the key come and gone. So only
    this is created. It is without an address, and nobody acts on it.
    """
    return EndpointSpec(endpoint, interface_of(endpoint), mac_of(endpoint), (), active=False)


def interface_of_container(container: ContainerId) -> InterfaceName:
    """The host's side of an attached container's veth, before and after a task claims it."""
    return InterfaceName(INTERFACE_PREFIX + _container_digest(container)[:11])


def mac_of_container(container: ContainerId) -> EUI:
    """The MAC address inside an attached container."""
    return _mac(_container_digest(container))


def _container_digest(container: ContainerId) -> str:
    return hashlib.sha256(handle_of_container(container).encode()).hexdigest()[:32]


def _mac(digest: str) -> EUI:
    tail = int(hashlib.sha256(digest.encode()).hexdigest()[:10], 16)
    return EUI((0x02 << 40) | tail, version=48, dialect=mac_unix_expanded)
