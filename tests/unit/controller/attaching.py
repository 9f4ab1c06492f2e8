"""What agents do for containers before their tasks run, on the stores of a test."""

from collections.abc import Callable
from typing import TypeVar

from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import marks_of_container
from calico.datastore.api import Datastore, DirectoryStore, Key
from calico.keys import HOSTS
from calico.model import AppliedRecord, Attachment, BootId, ContainerId, HostName
from calico.names import handle_of_container
from tests.delegating_store import DelegatingStore
from tests.unit.controller.cluster import Cluster

T = TypeVar("T")

BOX = ContainerId("box-1")


def attach(
    store: Datastore,
    container: ContainerId = BOX,
    host: str = "h1",
    versions: tuple[int, ...] = (4,),
    runs: str = "t",
) -> tuple[IPAddress, ...]:
    """Give a container its addresses, as the agent of a host does; `runs` is Mesos' word."""
    secondary = marks_of_container(container, HostName(host), runs)
    addresses = Addresses(store)
    return tuple(
        addresses.assign(
            HostName(host), handle_of_container(container), version=version, secondary=secondary
        )
        for version in versions
    )


def tell(cluster: Cluster, *attachments: Attachment, host: str = "h1") -> None:
    """Let a host tell which containers nobody claimed."""
    record = AppliedRecord(
        HostName(host),
        BootId("boot"),
        cluster.store.list(HOSTS).revision,
        attachments=attachments,
    )
    cluster.tell(record)
    cluster.tell_hosts()


class CountingStore(DelegatingStore):
    """A store that counts round trips; `log` says which."""

    def __init__(self, store: DirectoryStore) -> None:
        super().__init__(store)
        self.log: list[str] = []

    def read(self, verb: str, key: Key, read: Callable[[], T]) -> T:
        self.log.append(f"{verb} {key}")
        return super().read(verb, key, read)

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        self.log.append(f"{verb} {key}")
        return super().write(verb, key, write)

    def make_directory(self, key: Key) -> None:
        self._store.make_directory(key)
