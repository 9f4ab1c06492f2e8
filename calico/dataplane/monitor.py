"""Notices what other programs do to our objects in the kernel of one namespace.

Tables, routes and rules have events that name who changed them. Devices have
events too, but these name nobody, and most of their settings have none. So
devices are glanced at: when an event tells of them, and now and then. A glance
compares what the kernel says with what it said before, byte by byte, and takes
apart only what differs.
"""

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from calico.dataplane import sysctl
from calico.dataplane.api import Noticed
from calico.dataplane.netlink import messages
from calico.dataplane.netlink.batches import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NetlinkSocket,
)
from calico.dataplane.netlink.events import EventSocket, own_ports
from calico.dataplane.netlink.host_messages import dump_addresses
from calico.dataplane.netlink.kernel_events import (
    NFTABLES_GROUP,
    ROUTE_GROUPS,
    Heard,
    RouteEvents,
    hear_nftables,
)
from calico.dataplane.netlink.link_settings import heeds_mark, link_index
from calico.dataplane.netlink.links import owned
from calico.dataplane.state import ROUTE_PROTOCOL, Link
from calico.model import InterfaceName

#: Seconds between two glances when no event asks for one, from an event to the
#: glance that it asks for, and between two of those.
GLANCE_EVERY = 0.6
GLANCE_AFTER = 0.02
GLANCE_AGAIN = 0.2
#: Settings that no device has: forwarding as a whole.
SETTINGS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")


class KernelMonitor:
    """Implements `Monitor` for the namespace of the thread that opens it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held = ExitStack()
        self._kernel = NetlinkSocket()
        self._nftables = EventSocket(NETLINK_NETFILTER, (NFTABLES_GROUP,))
        self._routes = EventSocket(NETLINK_ROUTE, ROUTE_GROUPS)
        self._events = RouteEvents()
        self._devices: Mapping[int, bytes] = {}
        self._settings: Mapping[str, str] = {}
        self._glanced = self._glance_due = 0.0

    def open(self) -> None:
        """Notice from now on; raises DataplaneError."""
        with ExitStack() as held:
            for each in (self._kernel, self._nftables, self._routes):
                each.open()
                held.callback(each.close)
            self._events = RouteEvents(self._list_routes(), self._list_addresses())
            self._devices = self._list_devices()
            self._settings = sysctl.read(SETTINGS)
            self._glanced = self._now()
            self._glance_due = self._glanced + GLANCE_EVERY
            self._held = held.pop_all()

    def close(self) -> None:
        """Notice no more."""
        self._held.close()

    def wait(self, timeout: float) -> Noticed | None:
        """The next notice, None if there was none in time; raises DataplaneError."""
        until = self._now() + timeout
        while True:
            now = self._now()
            if now >= self._glance_due and (noticed := self._glance()) is not None:
                return noticed
            if now >= until:
                return None
            rest = max(0.0, min(until, self._glance_due) - now)
            ready, _, _ = select.select([self._nftables, self._routes], [], [], rest)
            if ready and self._hear():
                return Noticed(foreign=True)

    def _hear(self) -> bool:
        """Take in all events that wait; whether another program changed something of ours."""
        heard: list[Heard | None] = [
            *_each(self._nftables, hear_nftables),
            *_each(self._routes, self._events.hear),
        ]
        told = [each for each in heard if each is not None]
        lost = len(told) < len(heard)
        if lost or any(each.devices for each in told):
            soon = max(self._now() + GLANCE_AFTER, self._glanced + GLANCE_AGAIN)
            self._glance_due = min(self._glance_due, soon)
        if lost or any(each.host for each in told):
            return True
        ports = frozenset[int]().union(*(each.ports for each in told))
        return bool(ports) and not ports <= own_ports()

    def _glance(self) -> Noticed | None:
        """Compare devices and settings with what they were; None if all is the same."""
        self._glanced = self._now()
        self._glance_due = self._glanced + GLANCE_EVERY
        before, now = self._devices, self._list_devices()
        settings, self._settings = self._settings, sysctl.read(SETTINGS)
        self._devices = now
        links: dict[InterfaceName, Link | None] = {}
        foreign = settings != self._settings
        for index in before.keys() | now.keys():
            old, new = before.get(index), now.get(index)
            if old == new:
                continue
            if old is not None and new is not None:
                foreign = foreign or heeds_mark(old) != heeds_mark(new)
            was, is_ = _link(old), _link(new)
            if was == is_ and (was and was.carried) == (is_ and is_.carried):
                continue
            if was is not None:
                links.setdefault(was.name, None)
            if is_ is not None:
                links[is_.name] = is_
        links = {name: link for name, link in links.items() if owned(name)}
        return Noticed(foreign, links) if foreign or links else None

    def _list_devices(self) -> dict[int, bytes]:
        replies = self._kernel.dump(messages.dump_links())
        return {link_index(reply.body): reply.body for reply in replies}

    def _list_routes(self) -> Iterator[bytes]:
        for family in (messages.AF_INET, messages.AF_INET6):
            request = messages.dump_routes(family, protocol=ROUTE_PROTOCOL)
            for reply in self._kernel.dump(request):
                if reply.kind == messages.RTM_NEWROUTE:
                    yield reply.body

    def _list_addresses(self) -> Iterator[bytes]:
        for reply in self._kernel.dump(dump_addresses()):
            if reply.kind == messages.RTM_NEWADDR:
                yield reply.body


def _link(device: bytes | None) -> Link | None:
    return None if device is None else messages.parse_link(device).link


def _each(events: EventSocket, hear: Callable[[bytes], Heard]) -> Iterator[Heard | None]:
    """What each datagram that waits says, None where some were lost."""
    while (datagram := events.read()) != b"":
        yield None if datagram is None else hear(datagram)
