"""What agents do for containers before their tasks run, on the stores of a test."""

from collections.abc import Iterator

from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import marks_of_container
from calico.datastore.api import Datastore, DirectoryStore, Key, Listing, Revision, Stored
from calico.keys import HOSTS
from calico.model import AppliedRecord, Attachment, BootId, ContainerId, HostName
from calico.names import handle_of_container
from tests.unit.controller.cluster import Cluster

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


class CountingStore:
    """A store that counts round trips; `log` says which."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store
        self.log: list[str] = []

    def get(self, key: Key) -> Stored | None:
        self.log.append(f"get {key}")
        return self._store.get(key)

    def list(self, prefix: Key) -> Listing:
        self.log.append(f"list {prefix}")
        return self._store.list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        self.log.append(f"put {key}")
        return self._store.put(key, value, expect=expect, ttl=ttl)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self.log.append(f"delete {key}")
        self._store.delete(key, expect=expect)

    def make_directory(self, key: Key) -> None:
        self._store.make_directory(key)

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Iterator[object]:
        return iter(self._store.watch(prefix, after, timeout))
