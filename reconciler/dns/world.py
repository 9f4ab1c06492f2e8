"""Which tasks have names: what the datastore says, followed change by change; pure.

A task has names while the controller has accepted it, its endpoint is active
and its host's agent reports that endpoint up. What cannot be read has none.
"""

from collections.abc import Iterator

from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.datastore.api import Key, Listing, Put, Removed, WatchEvent
from calico.errors import CalicoError
from calico.keys import (
    ENDPOINTS,
    FELIX,
    HOSTS,
    POOLS,
    TASKS,
    parse_endpoint_key,
    parse_host_key,
    parse_pool_key,
    parse_status_key,
    parse_task_key,
)
from calico.model import (
    ORCHESTRATOR,
    EndpointId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    HostRecord,
    Pool,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import endpoint_of_task
from reconciler.dns.names import NamedTask
from reconciler.dns.zone import Zone

#: What is followed.
PREFIXES = (POOLS, HOSTS, TASKS, ENDPOINTS, FELIX)
#: How many parts a key has more than the directory of its workload.
_BELOW_WORKLOAD = 2


class World:
    """Keeps a zone as the datastore has it; owned by the thread that owns the zone."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._loaded: set[Key] = set()
        #: What was taken in of each key, by prefix: a hash, to know it again.
        self._known: dict[Key, dict[Key, int]] = {prefix: {} for prefix in PREFIXES}
        self._workloads: dict[str, set[Key]] = {}
        self._tasks: dict[TaskId, TaskRecord] = {}
        self._on_host: dict[HostName, set[TaskId]] = {}
        self._specs: dict[EndpointId, EndpointSpec] = {}
        self._statuses: dict[EndpointId, EndpointStatus] = {}
        self._pools: dict[IPNetwork, Pool] = {}
        self._hosts: dict[HostName, HostRecord] = {}
        self._moved = True

    @property
    def complete(self) -> bool:
        """Whether everything was seen at least once."""
        return len(self._loaded) == len(PREFIXES)

    @property
    def pools(self) -> tuple[IPNetwork, ...]:
        """Where addresses of tasks come from."""
        return tuple(self._pools)

    @property
    def host_addresses(self) -> tuple[IPAddress, ...]:
        """Every address that an agent told of its host."""
        return tuple(
            address for host in self._hosts.values() for address in (host.address, *host.others)
        )

    def take_moved(self) -> bool:
        """Whether pools or hosts changed since this was last asked."""
        moved, self._moved = self._moved, False
        return moved

    def load(self, prefix: Key, listing: Listing) -> Iterator[None]:
        """Take in all that is below a prefix, one key a step."""
        known = self._known[prefix]
        listed = {stored.key for stored in listing.entries}
        for key in [key for key in known if key not in listed]:
            self._remove(prefix, key)
            yield
        for stored in listing.entries:
            if known.get(stored.key) != hash(stored):
                self._put(prefix, stored.key, stored.value, hash(stored))
                yield
        self._loaded.add(prefix)

    def apply(self, prefix: Key, event: WatchEvent) -> None:
        """Take in one event below a prefix."""
        match event:
            case Put(stored):
                self._put(prefix, stored.key, stored.value, hash(stored))
            case Removed(key, _):
                for each in self._keys_at(prefix, key):
                    self._remove(prefix, each)

    def _keys_at(self, prefix: Key, key: Key) -> list[Key]:
        """A key, or all below it: endpoints and statuses lose their directories too."""
        known = self._known[prefix]
        if key in known:
            return [key]
        directory = key.removesuffix("/endpoint")
        if directory.removeprefix(prefix).count("/") >= 4:
            return list(self._workloads.get(directory, ()))
        return [each for each in known if each.startswith(key + "/")]

    def _put(self, prefix: Key, key: Key, value: str, mark: int) -> None:
        try:
            read = self._read(prefix, key, value)
        except CalicoError:
            # What the command line shows as a problem has no name here.
            self._remove(prefix, key)
            return
        if read:
            self._known[prefix][key] = mark

    def _read(self, prefix: Key, key: Key, value: str) -> bool:
        """Take a value in; False if the key is none of those that matter."""
        if prefix == TASKS and (task := parse_task_key(key)) is not None:
            self._set_task(task, codec.decode_task(task, value))
        elif prefix == ENDPOINTS and (endpoint := parse_endpoint_key(key)) is not None:
            if endpoint.orchestrator != ORCHESTRATOR:
                return False
            self._specs[endpoint] = codec.decode_endpoint(endpoint, value)
            self._note_workload(key)
            self._refresh(TaskId(endpoint.workload))
        elif prefix == FELIX and (endpoint := parse_status_key(key)) is not None:
            if endpoint.orchestrator != ORCHESTRATOR:
                return False
            self._statuses[endpoint] = codec.decode_status(value)
            self._note_workload(key)
            self._refresh(TaskId(endpoint.workload))
        elif prefix == POOLS and (cidr := parse_pool_key(key)) is not None:
            self._pools[cidr] = codec.decode_pool(cidr, value)
            self._moved = True
        elif prefix == HOSTS and (host := parse_host_key(key)) is not None:
            self._set_host(host, codec.decode_host(host, value))
        else:
            return False
        return True

    def _remove(self, prefix: Key, key: Key) -> None:
        if self._known[prefix].pop(key, None) is None:
            return
        if (task := parse_task_key(key)) is not None:
            self._set_task(task, None)
        elif (endpoint := parse_endpoint_key(key)) is not None:
            self._specs.pop(endpoint, None)
            self._forget_workload(key)
            self._refresh(TaskId(endpoint.workload))
        elif (endpoint := parse_status_key(key)) is not None:
            self._statuses.pop(endpoint, None)
            self._forget_workload(key)
            self._refresh(TaskId(endpoint.workload))
        elif (cidr := parse_pool_key(key)) is not None:
            self._pools.pop(cidr, None)
            self._moved = True
        elif (host := parse_host_key(key)) is not None:
            self._set_host(host, None)

    def _note_workload(self, key: Key) -> None:
        self._workloads.setdefault(_workload_of(key), set()).add(key)

    def _forget_workload(self, key: Key) -> None:
        directory = _workload_of(key)
        keys = self._workloads.get(directory, set())
        keys.discard(key)
        if not keys:
            self._workloads.pop(directory, None)

    def _set_task(self, task: TaskId, record: TaskRecord | None) -> None:
        before = self._tasks.pop(task, None)
        if before is not None:
            self._on_host[before.host].discard(task)
        if record is not None:
            self._tasks[task] = record
            self._on_host.setdefault(record.host, set()).add(task)
        self._refresh(task)

    def _set_host(self, host: HostName, record: HostRecord | None) -> None:
        self._moved = True
        before = self._hosts.pop(host, None)
        if record is not None:
            self._hosts[host] = record
        if record is None or before is None or before.address != record.address:
            for task in tuple(self._on_host.get(host, ())):
                self._refresh(task)

    def _refresh(self, task: TaskId) -> None:
        named = self._named(task)
        if named is None:
            self._zone.withdraw(task)
        else:
            self._zone.publish(named)

    def _named(self, task: TaskId) -> NamedTask | None:
        record = self._tasks.get(task)
        if record is None or record.verdict is not TaskVerdict.ACCEPTED:
            return None
        endpoint = endpoint_of_task(record.host, task)
        spec, status = self._specs.get(endpoint), self._statuses.get(endpoint)
        if spec is None or status is None or not _is_up(spec, status):
            return None
        host = self._hosts.get(record.host)
        return NamedTask(
            task=task,
            app=record.app,
            addresses=spec.addresses,
            ports=record.ports,
            host_addresses=() if host is None else (host.address,),
        )


def _is_up(spec: EndpointSpec, status: EndpointStatus) -> bool:
    """Whether the agent reports just these addresses; Felix reports none."""
    told = set(status.addresses) or set(spec.addresses)
    return spec.active and status.state is EndpointState.UP and told == set(spec.addresses)


def _workload_of(key: Key) -> str:
    """The directory of everything that belongs to one workload."""
    return key.rsplit("/", _BELOW_WORKLOAD)[0]
