"""The Attacher without a kernel and a datastore, for tests and for models of a host."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from calico.model import ContainerId
from calico.names import interface_of_container, mac_of_container
from reconciler.attach.api import (
    Attached,
    AttachRefused,
    AttachUnavailable,
    Place,
    UnknownContainer,
    Wish,
)
from reconciler.attach.rules import (
    check_id,
    check_place,
    check_same_wish,
    check_wish,
    has_another,
    second_interface,
    wanted,
)
from reconciler.attach.wire import NO_DESCRIPTOR

POOLS = (IPNetwork("192.168.0.0/16"),)


class MemoryAttacher:
    """Implements `Attacher`; what it is told of namespaces it believes.

    A namespace is that of a descriptor's inode, or of a pid; those whose inodes
    are in `host` are not for containers. While `unavailable` is not empty, what
    is not there yet cannot be had, for that reason.
    """

    def __init__(
        self,
        pools: Iterable[IPNetwork] = POOLS,
        mtu: int = 1500,
        host: Iterable[int] = (),
    ) -> None:
        self._pools = tuple(pools)
        self._mtu = mtu
        self._host = frozenset(host)
        self._lock = threading.Lock()
        self._known: dict[ContainerId, Attached] = {}
        self._namespaces: dict[ContainerId, str] = {}
        self._known_as: dict[ContainerId, str] = {}
        self.unavailable = ""

    @property
    def known(self) -> dict[ContainerId, Attached]:
        """What each container has, as a value of its own."""
        with self._lock:
            return dict(self._known)

    def in_time(self) -> AbstractContextManager[None]:
        """See Attacher."""
        return nullcontext()

    def allocate(self, container: ContainerId, wish: Wish) -> Attached:
        """See Attacher."""
        check_id(container)
        check_wish(wish)
        with self._lock:
            known = self._known.get(container)
            if known is not None:
                check_same_wish(known, wish)
                return known
            self._expect_available()
            addresses = tuple(self._give(wish))
            if not addresses:
                raise AttachRefused("there is no pool to take an address from")
            attached = Attached(
                container=container,
                addresses=addresses,
                interface=interface_of_container(container),
                mac=mac_of_container(container),
                mtu=self._mtu,
            )
            self._known[container] = attached
            return attached

    def attach(self, container: ContainerId, place: Place) -> Attached:
        """See Attacher."""
        check_id(container)
        check_place(place)
        namespace = self._namespace(place)
        with self._lock:
            known = self._known.get(container)
            if known is None:
                raise UnknownContainer(f"container {container} has no addresses yet")
            if known.device:
                if (known.device, self._namespaces[container]) != (place.device, namespace):
                    raise second_interface(known, place.device)
                return known
            for other, taken in self._namespaces.items():
                if taken == namespace:
                    raise AttachRefused(f"its network namespace is that of container {other}")
            self._expect_available()
            self._namespaces[container] = namespace
            self._known_as[container] = place.known_as
            self._known[container] = replace(known, device=place.device)
            return self._known[container]

    def detach(self, container: ContainerId, device: str = "") -> bool:
        """See Attacher."""
        check_id(container)
        with self._lock:
            known = self._known.get(container)
            if known is not None and has_another(known.device, device):
                return False
            self._namespaces.pop(container, None)
            self._known_as.pop(container, None)
            return self._known.pop(container, None) is not None

    def check(self, container: ContainerId) -> Attached:
        """See Attacher."""
        check_id(container)
        with self._lock:
            try:
                return self._known[container]
            except KeyError:
                raise UnknownContainer(f"container {container} is not attached here") from None

    def find(self, sign: IPAddress | str) -> ContainerId | None:
        """See Attacher."""
        with self._lock:
            for container, known in self._known.items():
                if isinstance(sign, IPAddress):
                    if sign in known.addresses:
                        return container
                elif sign and sign == self._known_as.get(container):
                    return container
            return None

    def _expect_available(self) -> None:
        if self.unavailable:
            raise AttachUnavailable(self.unavailable)

    def _namespace(self, place: Place) -> str:
        inode = 0
        with suppress(OSError):
            if place.descriptor != NO_DESCRIPTOR:
                inode = os.fstat(place.descriptor).st_ino
            else:
                inode = os.stat(f"/proc/{place.pid}/ns/net").st_ino
        if inode in self._host:
            raise AttachRefused("its network namespace is that of the host")
        return f"inode {inode}" if inode else f"pid {place.pid}"

    def _give(self, wish: Wish) -> Iterator[IPAddress]:
        taken = {address for each in self._known.values() for address in each.addresses}
        for address in wish.fixed:
            if not any(address in pool for pool in self._pools):
                raise AttachRefused(f"address {address} is in none of the pools in use")
            if address in taken:
                raise AttachRefused(f"address {address} is taken")
            yield address
        for version in (4, 6):
            pools = [pool for pool in self._pools if pool.version == version]
            if not wanted(wish, version, has_pool=bool(pools)):
                continue
            free = (
                address
                for pool in pools
                for address in pool
                if address not in taken and address not in wish.fixed
            )
            found = next(free, None)
            if found is None:
                raise AttachRefused(f"no address is free in the IPv{version} pools")
            yield found
