"""What the datastore holds of the cluster, as the controller's loop knows it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from netaddr import IPNetwork

from calico.codec import (
    decode_applied,
    decode_endpoint,
    decode_pool,
    decode_profile,
    decode_task,
)
from calico.datastore.api import (
    ABSENT,
    Datastore,
    Key,
    Listing,
    Put,
    Removed,
    Revision,
    Stored,
    WatchEvent,
)
from calico.errors import InvalidValue
from calico.keys import (
    APPLIED,
    ENDPOINTS,
    HOSTS,
    POOLS,
    PROFILES,
    TASKS,
    parse_applied_key,
    parse_endpoint_key,
    parse_pool_key,
    parse_profile_key,
    parse_task_key,
)
from calico.model import (
    ORCHESTRATOR,
    AppliedRecord,
    Attachment,
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
from calico.names import endpoint_of_task
from reconciler.controller.hosts.registrations import Registrations
from reconciler.core.adoption import History
from reconciler.core.tasks.attached import is_container_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A decoded value and the revision that the next write must expect."""

    value: T
    revision: Revision


class StoredState:
    """Records, endpoints and profiles as last read or written; one thread owns it.

    It is a cache: what is kept is written by compare-and-swap, so that a stale
    entry costs a conflict and a new look, never a wrong write.
    """

    def __init__(self) -> None:
        self.records: dict[TaskId, Kept[TaskRecord]] = {}
        self.specs: dict[EndpointId, Kept[EndpointSpec]] = {}
        self.profiles: dict[ProfileId, Profile] = {}
        #: Of every profile the revision of each of its leaves.
        self.leaves: dict[ProfileId, dict[str, Revision]] = {}
        self._pool_by_cidr: dict[IPNetwork, Pool] = {}
        self.registrations = Registrations()
        self.applied: dict[HostName, AppliedRecord] = {}
        #: What agents must tell of for their word to count.
        self.history = History()
        #: By key the revision that a write expects which has no answer: it may
        #: still be done while the key is at that revision.
        self.unanswered: dict[Key, Revision] = {}
        #: Endpoints' keys that are kept for one, see `reservation_of`.
        self.reserved: dict[Key, Revision] = {}
        self._unreadable: dict[Key, Revision] = {}
        self._tasks_by_app: dict[str, set[TaskId]] = {}

    def load(self, datastore: Datastore) -> bool:
        """Read everything that the controller writes or refers to; tells whether it is news."""
        before = self._revisions()
        unreadable: dict[Key, Revision] = {}
        records: dict[TaskId, Kept[TaskRecord]] = {}
        for stored in datastore.list(TASKS).entries:
            task = parse_task_key(stored.key)
            if task is None:
                continue
            try:
                records[task] = Kept(decode_task(task, stored.value), stored.revision)
            except InvalidValue:
                unreadable[stored.key] = stored.revision
        specs: dict[EndpointId, Kept[EndpointSpec]] = {}
        reserved: dict[Key, Revision] = {}
        for stored in datastore.list(ENDPOINTS).entries:
            endpoint = parse_endpoint_key(stored.key)
            if endpoint is None or endpoint.orchestrator != ORCHESTRATOR:
                continue
            try:
                spec = decode_endpoint(endpoint, stored.value)
            except InvalidValue:
                unreadable[stored.key] = stored.revision
                continue
            if spec.is_reserved:
                reserved[stored.key] = stored.revision
            else:
                specs[endpoint] = Kept(spec, stored.revision)
        leaves = _leaves(datastore.list(PROFILES).entries)
        self.load_pools(datastore.list(POOLS))
        self.profiles = {
            profile: decode_profile(profile, {leaf: each.value for leaf, each in found.items()})
            for profile, found in leaves.items()
        }
        self.leaves = {
            profile: {leaf: each.revision for leaf, each in found.items()}
            for profile, found in leaves.items()
        }
        self.specs, self.reserved, self._unreadable = specs, reserved, unreadable
        self.records, self._tasks_by_app = {}, {}
        for kept in records.values():
            self.keep_record(kept.value, kept.revision)
        return self._revisions() != before

    def _revisions(self) -> tuple[object, ...]:
        """Of all that is written by compare-and-swap what a write would expect."""
        records = {task: kept.revision for task, kept in self.records.items()}
        specs = {endpoint: kept.revision for endpoint, kept in self.specs.items()}
        return records, specs, dict(self.reserved), self.leaves, self._unreadable

    def expected(self, key: Key, kept: Kept[T] | None) -> Revision:
        """What a write of one of our keys must expect; what cannot be read is replaced."""
        if kept is not None:
            return kept.revision
        return self.reserved.get(key) or self._unreadable.get(key, ABSENT)

    def is_settled(self, key: Key, revision: Revision) -> bool:
        """Whether no write of ours that is still on its way may change what is there."""
        return self.unanswered.get(key) != revision

    def keep_record(self, record: TaskRecord, revision: Revision) -> None:
        """Remember a record that was read or written."""
        self.forget_record(record.task)
        self.records[record.task] = Kept(record, revision)
        self._tasks_by_app.setdefault(record.app, set()).add(record.task)

    def forget_record(self, task: TaskId) -> None:
        """Forget a record that was removed."""
        kept = self.records.pop(task, None)
        if kept is not None:
            self._tasks_by_app[kept.value.app].discard(task)

    def records_of(self, app: str) -> dict[TaskId, TaskRecord]:
        """The stored records of one app's tasks."""
        return {task: self.records[task].value for task in self._tasks_by_app.get(app, ())}

    def unrecorded(self) -> dict[TaskId, HostName]:
        """Endpoints of ours without a record, by task.

        A crash or an operator's hand may leave one behind, a write that came too
        late a reserved one. That it is ours is told by its id, which is made from
        the task's; other plugins draw theirs.
        """
        reserved = (each for key in self.reserved if (each := parse_endpoint_key(key)) is not None)
        return {
            task: endpoint.host
            for endpoint in (*self.specs, *reserved)
            if (task := TaskId(endpoint.workload)) not in self.records
            and endpoint == endpoint_of_task(endpoint.host, task)
        }

    def unclear_tasks(self) -> frozenset[TaskId]:
        """Tasks whose record or endpoint cannot be read: they may well exist."""
        endpoints = map(parse_endpoint_key, self._unreadable)
        tasks = map(parse_task_key, self._unreadable)
        return frozenset(
            (
                *(TaskId(each.workload) for each in endpoints if each is not None),
                *(each for each in tasks if each is not None),
            )
        )

    @property
    def hosts(self) -> dict[HostName, HostRecord]:
        """The registered hosts, as far as they can be understood."""
        return self.registrations.hosts

    def gone(self) -> frozenset[TaskId]:
        """Tasks that the agent of their own host, of its present boot, proved gone.

        Of a host that is forgotten all are: that is what the operator said.
        """
        proved = {
            task
            for host, applied in self.believing().items()
            if host in self.hosts and self.hosts[host].boot_id == applied.boot_id
            for task in applied.gone
            if task in self.records and self.records[task].value.host == host
        }
        if self.registrations.forgotten:
            proved |= {
                task
                for task, kept in self.records.items()
                if kept.value.host in self.registrations.forgotten
            }
        return frozenset(proved)

    def believing(self) -> dict[HostName, AppliedRecord]:
        """What agents tell that act on this store, and on no earlier one."""
        return {host: each for host, each in self.applied.items() if self.history.is_of(each)}

    def following(self, *, is_new: bool) -> frozenset[HostName]:
        """Hosts that have seen the latest takeover; of a new store, also that never saw any."""
        latest = self.history.takeover
        return frozenset(
            host
            for host, each in self.applied.items()
            if (each.guid and self.history.is_of(each) and each.takeover == latest)
            or (is_new and each.guid == "")
        )

    def doubting(self) -> bool:
        """Whether an agent says that it does not believe this store."""
        return any(each.doubt for each in self.applied.values())

    def attachments_of(self, host: HostName) -> tuple[Attachment, ...]:
        """The unclaimed attachments that a host's agent, of its present boot, tells of."""
        applied = self.applied.get(host)
        if applied is None or host not in self.hosts or not self.history.is_of(applied):
            return ()
        return applied.attachments if applied.boot_id == self.hosts[host].boot_id else ()

    def strangers(self, known: Collection[Attachment]) -> frozenset[Attachment]:
        """Attachments whose host names a task that has no record; so had the `known`."""
        return frozenset(
            each
            for host in self.hosts
            for each in self.attachments_of(host)
            if each.task
            and TaskId(each.task) not in self.records
            and (
                each in known or not any(is_container_of(each.task, task) for task in self.records)
            )
        )

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Where addresses come from, as far as it can be understood."""
        return tuple(self._pool_by_cidr.values())

    def load_pools(self, listing: Listing) -> None:
        """Replace the pools by a listing."""
        self._pool_by_cidr = {}
        for stored in listing.entries:
            self._put_pool(stored)

    def load_applied(self, listing: Listing) -> None:
        """Replace what agents say they applied by a listing."""
        self.applied = {}
        for stored in listing.entries:
            self._put_applied(stored)

    def apply(self, prefix: Key, event: WatchEvent) -> None:
        """Take one event below HOSTS, APPLIED or POOLS in."""
        match event:
            case Put(stored) if prefix == HOSTS:
                self.registrations.put(stored)
            case Put(stored) if prefix == APPLIED:
                self._put_applied(stored)
            case Put(stored) if prefix == POOLS:
                self._put_pool(stored)
            case Removed(key) if prefix == POOLS:
                cidr = parse_pool_key(key)
                if cidr is None:
                    self._pool_by_cidr = {}
                else:
                    self._pool_by_cidr.pop(cidr, None)
            case Removed(key) if prefix == HOSTS:
                self.registrations.remove(key)
            case Removed(key) if prefix == APPLIED:
                host = parse_applied_key(key)
                if host is None:
                    self.applied = {}
                else:
                    self.applied.pop(host, None)

    def _put_pool(self, stored: Stored) -> None:
        cidr = parse_pool_key(stored.key)
        if cidr is None:
            return
        try:
            self._pool_by_cidr[cidr] = decode_pool(cidr, stored.value)
        except InvalidValue:
            # What is not understood gives no addresses.
            self._pool_by_cidr.pop(cidr, None)

    def _put_applied(self, stored: Stored) -> None:
        host = parse_applied_key(stored.key)
        if host is None:
            return
        try:
            applied = decode_applied(host, stored.value)
        except InvalidValue:
            self.applied.pop(host, None)
            return
        if applied.revision >= stored.revision:
            # It tells of events that this store has not had: those of its former
            # life, before it was restored. What it proves is as old.
            applied = replace(applied, revision=0, gone=())
        self.applied[host] = applied


def _leaves(entries: Iterable[Stored]) -> dict[ProfileId, dict[str, Stored]]:
    leaves: dict[ProfileId, dict[str, Stored]] = {}
    for stored in entries:
        parsed = parse_profile_key(stored.key)
        if parsed is not None:
            leaves.setdefault(parsed[0], {})[parsed[1]] = stored
    return leaves
