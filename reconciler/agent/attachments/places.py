"""Where a container's link may be made, and where not."""

import os
import socket
from collections.abc import Iterable
from typing import Protocol

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.namespaces import (
    devices_inside,
    identify_opened,
    not_for_tasks,
    open_of_process,
)
from calico.errors import DataplaneError
from calico.model import InterfaceName
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.attach.api import AttachRefused, Place
from reconciler.attach.wire import NO_DESCRIPTOR


class Namespaces(Protocol):
    """The network namespaces of one machine; descriptors are open ones of them."""

    def open(self, place: Place) -> int:
        """A descriptor of our own of the namespace that was meant; raises AttachRefused."""
        ...

    def identify(self, descriptor: int, path: str) -> NamespaceRef:
        """Name one that may be found at a path later; raises DataplaneError."""
        ...

    def close(self, descriptor: int) -> None:
        """Have a descriptor no more."""
        ...

    def not_for_tasks(self) -> frozenset[int]:
        """The numbers of those that are no task's."""
        ...

    def devices_inside(self, descriptor: int) -> frozenset[str]:
        """The names of all devices in one; raises DataplaneError."""
        ...

    def exists(self, interface: InterfaceName) -> bool:
        """Whether the host itself has a device of this name."""
        ...


class KernelNamespaces:
    """Implements `Namespaces` for the machine that it runs on."""

    def open(self, place: Place) -> int:
        """See Namespaces."""
        try:
            if place.descriptor != NO_DESCRIPTOR:
                return os.dup(place.descriptor)
            return open_of_process(place.pid)
        except (OSError, DataplaneError) as error:
            raise AttachRefused(f"its network namespace cannot be opened: {error}") from error

    def identify(self, descriptor: int, path: str) -> NamespaceRef:
        """See Namespaces."""
        return identify_opened(descriptor, path)

    def close(self, descriptor: int) -> None:
        """See Namespaces."""
        os.close(descriptor)

    def not_for_tasks(self) -> frozenset[int]:
        """See Namespaces."""
        return not_for_tasks()

    def devices_inside(self, descriptor: int) -> frozenset[str]:
        """See Namespaces."""
        return devices_inside(descriptor)

    def exists(self, interface: InterfaceName) -> bool:
        """See Namespaces."""
        return exists(interface)


def path_of(place: Place) -> str:
    """Where the namespace may be found later; empty for nowhere."""
    return place.path or (f"/proc/{place.pid}/ns/net" if place.pid > 0 else "")


def is_same(known: NamespaceRef | None, ref: NamespaceRef) -> bool:
    """The same number is another namespace's if the cookie differs."""
    if known is None or known.inode != ref.inode:
        return False
    return 0 in (known.cookie, ref.cookie) or known.cookie == ref.cookie


def expect_own_namespace(
    namespaces: Namespaces, ref: NamespaceRef, others: Iterable[KeptAttachment]
) -> None:
    """Raise AttachRefused if it is the host's, or that of another container."""
    if ref.inode in namespaces.not_for_tasks():
        raise AttachRefused("its network namespace is that of the host, not one of its own")
    for other in others:
        if not other.detached and is_same(other.namespace, ref):
            raise AttachRefused(f"its network namespace is that of container {other.container}")


def expect_free_device(
    namespaces: Namespaces, known: KeptAttachment, place: Place, ref: NamespaceRef
) -> None:
    """Raise AttachRefused if its name inside is taken, unless by what a crash left of it.

    `ref` has an open descriptor.
    """
    there = namespaces.exists(known.interface)
    if not there and place.device in namespaces.devices_inside(ref.descriptor):
        raise AttachRefused(
            f"its namespace already has an interface {place.device} that is not ours"
        )


def exists(interface: InterfaceName) -> bool:
    """Whether the host has a device of this name."""
    try:
        return socket.if_nametoindex(interface) > 0
    except OSError:
        return False
