"""Names made from an id: endpoint ids, interface names and MAC addresses.

Everything here is a hash of the id, so no user string ever becomes part of a
kernel object's name.
"""

import hashlib

from netaddr import EUI, mac_unix_expanded

from calico.model import (
    INTERFACE_PREFIX,
    ORCHESTRATOR,
    EndpointId,
    HostName,
    InterfaceName,
    TaskId,
)


def endpoint_of_task(host: HostName, task: TaskId) -> EndpointId:
    """The id of a task's one endpoint on its host."""
    digest = hashlib.sha256(task.encode()).hexdigest()[:32]
    return EndpointId(host, ORCHESTRATOR, task, digest)


def interface_of(endpoint: EndpointId) -> InterfaceName:
    """Calico's form: `cali` and 11 characters, which fills Linux's 15."""
    return InterfaceName(INTERFACE_PREFIX + endpoint.endpoint[:11])


def mac_of(endpoint: EndpointId) -> EUI:
    """A locally administered unicast address made from the endpoint id."""
    tail = int(hashlib.sha256(endpoint.endpoint.encode()).hexdigest()[:10], 16)
    return EUI((0x02 << 40) | tail, version=48, dialect=mac_unix_expanded)
