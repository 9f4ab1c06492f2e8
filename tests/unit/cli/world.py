"""A cluster written through the codec into any datastore, for the commands to read."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing.addresses import Addresses
from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER
from calico.cluster import (
    ClusterRecord,
    HoldKind,
    HoldRecord,
    LeaderRecord,
    Standing,
    Takeover,
)
from calico.datastore.api import Datastore, Key, Revision
from calico.errors import AddressOutsidePools
from calico.model import (
    AppliedRecord,
    Attachment,
    BootId,
    ContainerId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HandleId,
    HostName,
    HostRecord,
    Pool,
    PortOpening,
    Profile,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import endpoint_of_task, handle_of_container, interface_of, mac_of
from reconciler.core.removal.held import plan_name
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of

SINCE = "2016-05-01T10:00:00Z"


@dataclass(frozen=True)
class World:
    """Writes what a controller and agents would; every method is one of their steps."""

    datastore: Datastore
    policy: NetworkPolicy = field(default_factory=NetworkPolicy)

    def lead(self, holder: str = "ctl-1", standing: Standing | None = None) -> None:
        record = LeaderRecord(holder, SINCE, standing)
        self.datastore.put(keys.LEADER, codec.encode_leader(record), ttl=60)

    def pin(self, framework: str = "first-0000") -> ClusterRecord:
        """What a controller decided for the cluster."""
        takeover = Takeover(3, "nonce", ("guid-of-before",))
        allowed = (IPNetwork("10.0.0.9/32"),)
        record = ClusterRecord("uuid-1", framework, "1.4.13", allowed, (takeover,))
        self.datastore.put(keys.CLUSTER, codec.encode_cluster(record))
        return record

    def hold(self, kind: HoldKind, *subjects: str, reason: str = "why") -> HoldRecord:
        """Something waits for an operator."""
        record = HoldRecord(kind, plan_name(kind, subjects), reason, subjects, SINCE)
        self.datastore.put(keys.hold_key(kind), codec.encode_hold(record))
        return record

    def held(self, kind: HoldKind) -> HoldRecord:
        """What waits now."""
        stored = self.datastore.get(keys.hold_key(kind))
        assert stored is not None
        return codec.decode_hold(kind, stored.value)

    def pool(self, cidr: str = "192.168.0.0/16") -> None:
        pool = Pool(IPNetwork(cidr), masquerade=True)
        self.datastore.put(keys.pool_key(pool), codec.encode_pool(pool))

    def host(self, name: str, address: str, *, alive: bool = True) -> HostRecord:
        host = HostRecord(HostName(name), IPAddress(address), BootId("boot"), "machine", "0.1")
        self.datastore.put(keys.host_key(host.name), codec.encode_host(host))
        beat = f'{{"time": "{SINCE}", "uptime": 1.0, "first_update": false}}'
        last = Key(f"{keys.FELIX}/{name}/last_reported_status")
        self.datastore.put(last, beat)
        if alive:
            self.datastore.put(keys.felix_status_key(host.name), beat, ttl=60)
        return host

    def record(
        self,
        host: HostRecord,
        task: str,
        *,
        groups: Iterable[str] = (),
        ports: Iterable[tuple[str, int]] = (),
        ports_declared: bool | None = None,
        verdict: TaskVerdict = TaskVerdict.ACCEPTED,
        reason: str = "",
        app: str | None = None,
        container: str = "",
        pod: bool = False,
    ) -> TaskRecord:
        openings = tuple(PortOpening(protocol, number) for protocol, number in ports)
        record = TaskRecord(
            TaskId(task),
            app or f"/{task.partition('.')[0]}",
            "2016-05-01T09:59:00.000Z",
            host.name,
            tuple(groups),
            openings,
            bool(openings) if ports_declared is None else ports_declared,
            verdict,
            reason,
            SINCE,
            container,
            pod,
        )
        self.datastore.put(keys.task_key(record.task), codec.encode_task(record))
        return record

    def profile(self, profile: Profile) -> None:
        self.datastore.put(keys.profile_key(profile.id, "tags"), codec.encode_tags(profile))
        self.datastore.put(keys.profile_key(profile.id, "rules"), codec.encode_rules(profile))

    def endpoint(
        self, host: HostRecord, record: TaskRecord, *addresses: str
    ) -> tuple[EndpointSpec, Revision]:
        profiles = profiles_of(record, host, self.policy)
        for profile in profiles:
            self.profile(profile)
        endpoint = endpoint_of_task(host.name, record.task)
        spec = EndpointSpec(
            endpoint,
            interface_of(endpoint),
            mac_of(endpoint),
            tuple(map(IPAddress, addresses)),
            tuple(profile.id for profile in profiles),
        )
        key = keys.endpoint_key(endpoint)
        return spec, self.datastore.put(key, codec.encode_endpoint(spec))

    def allocate(self, host: HostName, handle: str, address: str, *, ours: bool = True) -> None:
        """Take an address as a controller would, or as another orchestrator."""
        Addresses(self.datastore).assign_fixed(
            host, HandleId(handle), IPAddress(address), secondary=(OWNER,) if ours else ()
        )

    def attach(self, host: HostName, container: str, address: str) -> None:
        """Give a container an address as an agent does."""
        Addresses(self.datastore).assign_fixed(
            host,
            handle_of_container(ContainerId(container)),
            IPAddress(address),
            secondary=(OWNER, (CONTAINER, container), (ON_HOST, host)),
        )

    def report(
        self,
        spec: EndpointSpec,
        revision: int,
        state: EndpointState = EndpointState.UP,
        reason: str = "",
    ) -> None:
        status = EndpointStatus(state, revision, spec.addresses, reason)
        self.datastore.put(keys.status_key(spec.id), codec.encode_status(status))

    def applied(
        self,
        host: HostRecord,
        revision: int,
        problems: Iterable[str] = (),
        attachments: Iterable[Attachment] = (),
    ) -> None:
        applied = AppliedRecord(
            host.name, host.boot_id, revision, (), tuple(problems), tuple(attachments)
        )
        self.datastore.put(keys.applied_key(host.name), codec.encode_applied(applied))

    def task(
        self, host: HostRecord, task: str, address: str, **declared: object
    ) -> tuple[TaskRecord, EndpointSpec, Revision]:
        """A task that runs as it should."""
        # Some tests want an address that is nobody's to give.
        with suppress(AddressOutsidePools):
            self.allocate(host.name, task, address)
        record = self.record(host, task, **declared)
        spec, revision = self.endpoint(host, record, address)
        self.report(spec, revision)
        return record, spec, revision


def star(datastore: Datastore) -> World:
    """Two hosts, two isolated groups, one public task: all as it should be."""
    world = World(datastore)
    world.lead()
    world.pool()
    a, b = world.host("host-a", "10.1.0.1"), world.host("host-b", "10.1.0.2")
    tcp = [("tcp", 9000)]
    world.task(a, "star_probe-a.1", "192.168.0.1", groups=["star-1"], ports=tcp)
    world.task(b, "star_probe-b.1", "192.168.0.65", groups=["star-1"], ports=tcp)
    world.task(b, "star_probe-c.1", "192.168.0.66", groups=["star-2"], ports=tcp)
    *_, revision = world.task(a, "star_collect.1", "192.168.0.2", groups=["public"], ports=tcp)
    world.applied(a, revision)
    world.applied(b, revision)
    return world
