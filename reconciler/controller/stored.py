"""What the datastore holds of the cluster, as the controller's loop knows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from calico.codec import (
    decode_applied,
    decode_endpoint,
    decode_host,
    decode_pool,
    decode_profile,
    decode_task,
)
from calico.datastore.api import Datastore, Key, Listing, Put, Removed, Revision, Stored, WatchEvent
from calico.errors import InvalidName, InvalidValue
from calico.keys import (
    APPLIED,
    ENDPOINTS,
    HOSTS,
    POOLS,
    PROFILES,
    TASKS,
    parse_applied_key,
    parse_endpoint_key,
    parse_host_key,
    parse_pool_key,
    parse_profile_key,
    parse_task_key,
)
from calico.model import (
    ORCHESTRATOR,
    AppliedRecord,
    EndpointId,
    EndpointSpec,
    HostName,
    HostRecord,
    Pool,
    Profile,
    ProfileId,
    TaskId,
    TaskRecord,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A decoded value and the revision that the next write must expect."""

    value: T
    revision: Revision


class StoredState:
    """Records, endpoints and profiles as last read or written; one thread owns it.

    It is a cache: every write is a compare-and-swap, so that a stale entry
    costs a conflict and a new look, never a wrong write.
    """

    def __init__(self) -> None:
        self.records: dict[TaskId, Kept[TaskRecord]] = {}
        self.specs: dict[EndpointId, Kept[EndpointSpec]] = {}
        self.profiles: dict[ProfileId, Profile] = {}
        self.leaves: dict[ProfileId, set[str]] = {}
        self.pools: tuple[Pool, ...] = ()
        self.hosts: dict[HostName, HostRecord] = {}
        self.applied: dict[HostName, AppliedRecord] = {}

    def load(self, datastore: Datastore) -> None:
        """Read everything that the controller writes or refers to."""
        records = {}
        for stored in datastore.list(TASKS).entries:
            task = parse_task_key(stored.key)
            try:
                if task is not None:
                    records[task] = Kept(decode_task(task, stored.value), stored.revision)
            except InvalidValue:
                # Not ours to judge: the endpoint behind it is then not ours either.
                continue
        specs = {}
        for stored in datastore.list(ENDPOINTS).entries:
            endpoint = parse_endpoint_key(stored.key)
            if endpoint is None or endpoint.orchestrator != ORCHESTRATOR:
                continue
            try:
                specs[endpoint] = Kept(decode_endpoint(endpoint, stored.value), stored.revision)
            except InvalidValue:
                continue
        self.records, self.specs = records, specs
        texts = _leaves(datastore.list(PROFILES).entries)
        self.profiles = {
            profile: decode_profile(profile, found) for profile, found in texts.items()
        }
        self.leaves = {profile: set(found) for profile, found in texts.items()}
        self.pools = tuple(_pools(datastore.list(POOLS).entries))

    def load_hosts(self, listing: Listing) -> None:
        """Replace the registered hosts by a listing."""
        self.hosts = {}
        for stored in listing.entries:
            self._put_host(stored)

    def load_applied(self, listing: Listing) -> None:
        """Replace what agents say they applied by a listing."""
        self.applied = {}
        for stored in listing.entries:
            self._put_applied(stored)

    def apply(self, prefix: Key, event: WatchEvent) -> None:
        """Take one event below HOSTS or APPLIED in."""
        match event, prefix:
            case Put(stored), _ if prefix == HOSTS:
                self._put_host(stored)
            case Put(stored), _ if prefix == APPLIED:
                self._put_applied(stored)
            case Removed(key), _ if prefix == HOSTS:
                host = parse_host_key(key)
                self.hosts = {k: v for k, v in self.hosts.items() if host is not None and k != host}
            case Removed(key), _ if prefix == APPLIED:
                host = parse_applied_key(key)
                self.applied = {
                    k: v for k, v in self.applied.items() if host is not None and k != host
                }

    def records_of(self, app: str) -> dict[TaskId, TaskRecord]:
        """The stored records of one app's tasks."""
        return {task: kept.value for task, kept in self.records.items() if kept.value.app == app}

    def apps(self) -> frozenset[str]:
        """Every app that the datastore knows."""
        return frozenset(kept.value.app for kept in self.records.values())

    def gone(self) -> frozenset[TaskId]:
        """Tasks whose namespace an agent of the host's present boot proved gone."""
        return frozenset(
            task
            for host, applied in self.applied.items()
            if host in self.hosts and self.hosts[host].boot_id == applied.boot_id
            for task in applied.gone
        )

    def _put_host(self, stored: Stored) -> None:
        host = parse_host_key(stored.key)
        try:
            if host is not None:
                self.hosts[host] = decode_host(host, stored.value)
        except (InvalidValue, InvalidName):
            self.hosts.pop(HostName(host or ""), None)

    def _put_applied(self, stored: Stored) -> None:
        host = parse_applied_key(stored.key)
        try:
            if host is not None:
                self.applied[host] = decode_applied(host, stored.value)
        except (InvalidValue, InvalidName):
            self.applied.pop(HostName(host or ""), None)


def _leaves(entries: Iterable[Stored]) -> dict[ProfileId, dict[str, str]]:
    leaves: dict[ProfileId, dict[str, str]] = {}
    for stored in entries:
        parsed = parse_profile_key(stored.key)
        if parsed is not None:
            leaves.setdefault(parsed[0], {})[parsed[1]] = stored.value
    return leaves


def _pools(entries: Iterable[Stored]) -> Iterable[Pool]:
    for stored in entries:
        cidr = parse_pool_key(stored.key)
        try:
            if cidr is not None:
                yield decode_pool(cidr, stored.value)
        except InvalidValue:
            continue
