"""Veths wired by hand between the test's namespace and a task's.

For tests of the table alone; tests of the product's own wiring use `netlink`.
"""

from dataclasses import dataclass

from netaddr import EUI, IPAddress
from pyroute2 import IPRoute

from calico.dataplane.state import GATEWAY4, GATEWAY6, HOST_MAC
from tests.kernel.namespaces import Namespace


@dataclass(frozen=True, slots=True)
class Wire:
    """One veth: its host side, and the namespace at the other end."""

    interface: str
    namespace: Namespace
    mac: EUI
    addresses: tuple[IPAddress, ...]


def colon(mac: EUI) -> str:
    """A MAC address as netlink wants it."""
    return ":".join(f"{word:02x}" for word in mac.words)


def wire(
    interface: str,
    namespace: Namespace,
    mac: EUI,
    *addresses: IPAddress,
    table: int = 254,
) -> Wire:
    """Connect a namespace to the test's, as a task: /32, fixed gateway, host route.

    The host's route to each address goes into `table`.
    """
    with IPRoute() as host:
        host.link(
            "add",
            ifname=interface,
            kind="veth",
            address=colon(HOST_MAC),
            peer={"ifname": "eth0", "net_ns_pid": namespace.pid, "address": colon(mac)},
        )
        (index,) = host.link_lookup(ifname=interface)
        host.link("set", index=index, state="up")
    with namespace.entered(), IPRoute() as task:
        (eth0,) = task.link_lookup(ifname="eth0")
        task.link("set", index=eth0, state="up")
        for address in addresses:
            gateway = str(GATEWAY4 if address.version == 4 else GATEWAY6)
            extra = {} if address.version == 4 else {"IFA_FLAGS": 0x02}
            task.addr(
                "add",
                index=eth0,
                address=str(address),
                prefixlen=32 if address.version == 4 else 128,
                **extra,
            )
            task.neigh(
                "replace", dst=gateway, lladdr=colon(HOST_MAC), ifindex=eth0, state="permanent"
            )
            task.route("add", dst=f"{gateway}", oif=eth0, scope="link")
            task.route("add", dst="default", gateway=gateway, oif=eth0)
        # A device drops what it is to send until its carrier took effect, which the
        # kernel does on its own time: asked for it by index, it does so at once.
        task.link("get", index=eth0)
    with IPRoute() as host:
        for address in addresses:
            host.neigh(
                "replace", dst=str(address), lladdr=colon(mac), ifindex=index, state="permanent"
            )
            host.route("add", dst=str(address), oif=index, scope="link", table=table)
        host.link("get", index=index)
    return Wire(interface, namespace, mac, addresses)
