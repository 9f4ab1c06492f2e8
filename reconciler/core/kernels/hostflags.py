"""What the flags of a host's agent say about a packet of a task.

They are judged by source address on the host that the packet leaves, and on
the host that it is for, before or in place of any profile.
"""

from collections.abc import Mapping

from netaddr import IPAddress

from calico.dataplane.render.chains import DNS_PORT, LINK_LOCAL
from calico.model import PROTOCOLS, HostFlags, HostName, HostRecord, PortRange, Protected

WITH_PORTS = frozenset({PROTOCOLS["tcp"], PROTOCOLS["udp"]})


def flags_by_host(hosts: Mapping[HostName, HostRecord]) -> Mapping[HostName, HostFlags]:
    """The flags of every host that registered them."""
    return {name: record.flags for name, record in hosts.items() if record.flags is not None}


def protected_by(
    flags: HostFlags, destination: IPAddress, protocol: int, port: int | None
) -> Protected | None:
    """What closes a destination to tasks, None if nothing does."""
    return next(
        (
            each
            for each in flags.protected
            if destination in each.network
            and (each.port is None or (protocol in WITH_PORTS and port == each.port))
        ),
        None,
    )


def opened_by(flags: HostFlags, protocol: int, port: int | None) -> PortRange | None:
    """What opens a port of the host itself to tasks, None if nothing does."""
    if protocol not in WITH_PORTS or port is None:
        return None
    return next((each for each in flags.host_ports if each.first <= port <= each.last), None)


def is_metadata(destination: IPAddress, port: int | None) -> bool:
    """Whether it is where a cloud hands out a host's credentials; its DNS may be asked."""
    return destination.version == 4 and destination in LINK_LOCAL and port != DNS_PORT
