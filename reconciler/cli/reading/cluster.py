"""One read of everything that the commands judge."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netaddr import IPAddress

from calico import codec, keys
from calico.addressing.books import Books, decode_books
from calico.cluster import ClusterRecord, HoldRecord, LeaderRecord
from calico.datastore.api import Datastore, Key, Revision, Stored
from calico.errors import InvalidName, InvalidValue
from calico.model import (
    ORCHESTRATOR,
    AppliedRecord,
    EndpointId,
    EndpointSpec,
    EndpointStatus,
    HostEndpoint,
    HostEndpointId,
    HostName,
    HostRecord,
    Policy,
    PolicyId,
    Pool,
    ProfileId,
    Snapshot,
    TaskId,
    TaskRecord,
)
from reconciler.cli.reading.objections import Objections
from reconciler.controller.pinned import UnreadablePin, parse_pinned
from reconciler.core.verdict import AgentState, AgentView, Judgement, judge
from reconciler.runtime.lease import DEAD_AFTER, RENEW_EVERY

CALICO_ROOT = Key("/calico")
OWN_ROOT = Key("/marathon-calico")

LASTING_LEASE = (
    "does not expire, unlike what controllers write, so that nobody can lead: a controller that"
    f" stands by removes it within {DEAD_AFTER + RENEW_EVERY:.0f} s,"
    f" `etcdctl rm {keys.LEADER}` at once"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A key whose value cannot be used, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostView:
    """One host: what it registered, what it applied, when it was heard last."""

    name: HostName
    agent: AgentView
    record: HostRecord | None = None
    problems: tuple[str, ...] = ()
    last_seen: str = ""


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task or foreign endpoint with everything known of it.

    `record` is None for an endpoint that is not ours.
    """

    name: str
    host: HostName
    judgement: Judgement
    record: TaskRecord | None = None
    endpoint: EndpointId | None = None
    spec: EndpointSpec | None = None
    revision: int = 0
    status: EndpointStatus | None = None

    @property
    def app(self) -> str:
        """The app's id, empty for a foreign endpoint."""
        return self.record.app if self.record else ""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the task's own app version."""
        return self.record.groups if self.record else ()

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The addresses that the task should have."""
        return self.spec.addresses if self.spec else ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the datastore held at (nearly) one moment.

    `alive` are hosts whose agent, or Felix, reported within its time to live;
    `last_seen` is when each said so last, which outlives that. `ready_revision`
    is when the controller last made agents say how far they are. `pinned` is
    what was decided once for the cluster, unless that cannot be read; `holds` what
    waits for an operator; `objecting` are hosts whose agents hold what this store
    lacks, and `told_of` all that an earlier one knew, by their word.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    records: Mapping[TaskId, TaskRecord] = field(default_factory=dict)
    statuses: Mapping[EndpointId, EndpointStatus] = field(default_factory=dict)
    applied: Mapping[HostName, AppliedRecord] = field(default_factory=dict)
    alive: frozenset[HostName] = frozenset()
    last_seen: Mapping[HostName, str] = field(default_factory=dict)
    books: Books = field(default_factory=Books)
    profile_revisions: Mapping[ProfileId, int] = field(default_factory=dict)
    ready_revision: int = 0
    leader: LeaderRecord | None = None
    pinned: ClusterRecord | None = None
    is_pin_unreadable: bool = False
    holds: tuple[HoldRecord, ...] = ()
    objecting: frozenset[HostName] = frozenset()
    told_of: frozenset[HostName] = frozenset()
    problems: tuple[Problem, ...] = ()

    def host(self, name: HostName) -> HostView:
        """One host, also one that never registered."""
        record = self.snapshot.hosts.get(name)
        applied = self.applied.get(name)
        # What was applied before a reboot says nothing of the present kernel.
        if applied is not None and record is not None and applied.boot_id != record.boot_id:
            applied = None
        reached = applied.revision if applied else 0
        if record is None:
            state = AgentState.UNREGISTERED
        elif record.forgotten:
            state = AgentState.FORGOTTEN
        else:
            state = AgentState.REPORTING if name in self.alive else AgentState.SILENT
        return HostView(
            name=name,
            agent=AgentView(name, state, reached, name in self.objecting),
            record=record,
            problems=applied.problems if applied else (),
            last_seen=self.last_seen.get(name, ""),
        )

    def hosts(self) -> tuple[HostView, ...]:
        """Every host that registered or that something is placed on, by name."""
        placed = {spec.host for spec in self.snapshot.specs}
        placed |= {record.host for record in self.records.values() if record.host}
        return tuple(self.host(name) for name in sorted(placed | set(self.snapshot.hosts)))

    def tasks(self) -> tuple[TaskView, ...]:
        """Every task, foreign endpoint and leftover of one, by name."""
        endpoints = set(self.snapshot.specs) | set(self.statuses)
        agents = {host.name: host.agent for host in self.hosts()}
        views = [self._view(endpoint, agents) for endpoint in endpoints]
        with_endpoint = {view.record.task for view in views if view.record is not None}
        for task, record in self.records.items():
            if task not in with_endpoint:
                agent = agents.get(record.host) or self.host(record.host).agent
                judgement = judge(record, None, 0, None, agent)
                views.append(
                    TaskView(name=task, host=record.host, judgement=judgement, record=record)
                )
        return tuple(sorted(views, key=lambda view: (view.name, view.host)))

    def _view(self, endpoint: EndpointId, agents: Mapping[HostName, AgentView]) -> TaskView:
        record = None
        if endpoint.orchestrator == ORCHESTRATOR:
            record = self.records.get(TaskId(endpoint.workload))
        spec = self.snapshot.specs.get(endpoint)
        revision = self.snapshot.spec_revisions.get(endpoint, 0)
        status = self.statuses.get(endpoint)
        agent = agents.get(endpoint.host) or self.host(endpoint.host).agent
        return TaskView(
            name=endpoint.workload,
            host=endpoint.host,
            judgement=judge(record, spec, revision, status, agent),
            record=record,
            endpoint=endpoint,
            spec=spec,
            revision=revision,
            status=status,
        )


def read_cluster(datastore: Datastore) -> Cluster:
    """Read all that the commands need; raises DatastoreError.

    Records come first: a task that appears meanwhile then looks foreign for
    this once, never missing.
    """
    own = datastore.list(OWN_ROOT)
    calico = datastore.list(CALICO_ROOT)
    return decode_cluster(own.entries, calico.entries, calico.revision)


def decode_cluster(
    own: Iterable[Stored], calico: Iterable[Stored], revision: Revision | int
) -> Cluster:
    """Entries to values; what cannot be decoded becomes a problem, nothing more."""
    entries = (*own, *calico)
    reading = _Reading(decode_books(entries))
    for stored in entries:
        try:
            reading.take(stored)
        except (InvalidValue, InvalidName) as error:
            reading.problems.append(Problem(stored.key, str(error)))
    return reading.cluster(int(revision))


class _Reading:
    """Collects what one read holds, key by key."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.specs: dict[EndpointId, EndpointSpec] = {}
        self.spec_revisions: dict[EndpointId, int] = {}
        self.leaves: dict[ProfileId, dict[str, str]] = {}
        self.profile_revisions: dict[ProfileId, int] = {}
        self.policies: dict[PolicyId, Policy] = {}
        self.host_endpoints: dict[HostEndpointId, HostEndpoint] = {}
        self.pools: list[Pool] = []
        self.statuses: dict[EndpointId, EndpointStatus] = {}
        self.alive: set[HostName] = set()
        self.last_seen: dict[HostName, str] = {}
        self.records: dict[TaskId, TaskRecord] = {}
        self.hosts: dict[HostName, HostRecord] = {}
        self.applied: dict[HostName, AppliedRecord] = {}
        self.ready_revision = 0
        self.leader: LeaderRecord | None = None
        self.pinned: ClusterRecord | None = None
        self.is_pin_unreadable = False
        self.holds: list[HoldRecord] = []
        self.objections = Objections()
        self.problems = [Problem(key, why) for key, why in books.unreadable.items()]

    def take(self, stored: Stored) -> None:
        """Decode one entry; keys that mean nothing to us are passed over."""
        key, text = stored.key, stored.value
        if (task := keys.parse_task_key(key)) is not None:
            self.records[task] = codec.decode_task(task, text)
        elif (host := keys.parse_host_key(key)) is not None:
            self.hosts[host] = codec.decode_host(host, text)
        elif (host := keys.parse_applied_key(key)) is not None:
            self.applied[host] = codec.decode_applied(host, text)
        elif (endpoint := keys.parse_endpoint_key(key)) is not None:
            self._take_endpoint(codec.decode_endpoint(endpoint, text), stored.revision)
        elif (endpoint := keys.parse_status_key(key)) is not None:
            self.statuses[endpoint] = codec.decode_status(text)
        elif (leaf := keys.parse_profile_key(key)) is not None:
            self.leaves.setdefault(leaf[0], {})[leaf[1]] = text
            newest = max(self.profile_revisions.get(leaf[0], 0), stored.revision)
            self.profile_revisions[leaf[0]] = newest
            if leaf[1] == "labels":
                # They close nothing, but an operator should know that they do not count.
                codec.decode_labels(text)
        elif (policy := keys.parse_policy_key(key)) is not None:
            self.policies[policy] = codec.decode_policy(policy, text)
        elif (host_endpoint := keys.parse_host_endpoint_key(key)) is not None:
            decoded = codec.decode_host_endpoint(host_endpoint, text)
            self.host_endpoints[host_endpoint] = decoded
        elif (cidr := keys.parse_pool_key(key)) is not None:
            self.pools.append(codec.decode_pool(cidr, text))
        elif key == keys.READY:
            self.ready_revision = stored.revision
        else:
            self._take_single(stored)

    def _take_endpoint(self, spec: EndpointSpec, revision: Revision) -> None:
        if not spec.is_reserved:
            self.specs[spec.id] = spec
            self.spec_revisions[spec.id] = revision

    def _take_single(self, stored: Stored) -> None:
        key, text = stored.key, stored.value
        if key == keys.LEADER and not stored.expires:
            # Nobody holds it: every write of a controller's gives it a time to live.
            self.problems.append(Problem(key, LASTING_LEASE))
        elif key == keys.LEADER:
            self.leader = codec.decode_leader(text)
        elif key == keys.CLUSTER:
            try:
                self.pinned = parse_pinned(text)
            except UnreadablePin:
                self.is_pin_unreadable = True
                raise
        elif (kind := keys.parse_hold_key(key)) is not None:
            self.holds.append(codec.decode_hold(kind, text))
        elif self.objections.take(stored):
            return
        elif key.startswith(keys.FELIX + "/"):
            host, _, leaf = key[len(keys.FELIX) + 1 :].partition("/")
            if leaf == "status":
                self.alive.add(HostName(host))
            if leaf in ("status", "last_reported_status"):
                seen = _parse_texts(text).get("time", "")
                self.last_seen[HostName(host)] = max(seen, self.last_seen.get(HostName(host), ""))

    def cluster(self, revision: int) -> Cluster:
        """What was taken, as one value."""
        profiles = {name: codec.decode_profile(name, each) for name, each in self.leaves.items()}
        return Cluster(
            snapshot=Snapshot(
                revision=revision,
                specs=self.specs,
                spec_revisions=self.spec_revisions,
                profiles=profiles,
                pools=tuple(sorted(self.pools, key=lambda pool: pool.cidr)),
                block_hosts={cidr: block.affinity for cidr, block in self.books.blocks.items()},
                hosts=self.hosts,
                policies=self.policies,
                host_endpoints=self.host_endpoints,
            ),
            records=self.records,
            statuses=self.statuses,
            applied=self.applied,
            alive=frozenset(self.alive),
            last_seen=self.last_seen,
            books=self.books,
            profile_revisions=self.profile_revisions,
            ready_revision=self.ready_revision,
            leader=self.leader,
            pinned=self.pinned,
            is_pin_unreadable=self.is_pin_unreadable,
            holds=tuple(sorted(self.holds, key=lambda hold: hold.kind.value)),
            objecting=self.objections.objecting(self.hosts),
            told_of=self.objections.told_of(),
            problems=tuple(sorted(self.problems, key=lambda problem: problem.key)),
        )


def _parse_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidValue("is not a JSON object")
    return value


def _parse_texts(text: str) -> dict[str, str]:
    return {name: each for name, each in _parse_object(text).items() if isinstance(each, str)}
