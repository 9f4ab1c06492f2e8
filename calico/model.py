"""The values of Calico's data model, as this project uses them.

Field names follow Calico's etcd v1 JSON where one exists; `codec` is the only
module that knows the JSON. All values are frozen, all addresses are netaddr.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NewType

from netaddr import EUI, IPAddress, IPNetwork

from calico.selector import Selector

HostName = NewType("HostName", str)
TaskId = NewType("TaskId", str)
ProfileId = NewType("ProfileId", str)
Tag = NewType("Tag", str)
InterfaceName = NewType("InterfaceName", str)
HandleId = NewType("HandleId", str)
BootId = NewType("BootId", str)
ContainerId = NewType("ContainerId", str)

#: The names that Calico's rules have for protocols.
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}

ORCHESTRATOR = "mesos"
INTERFACE_PREFIX = "cali"


@dataclass(frozen=True, slots=True, order=True)
class EndpointId:
    """Where an endpoint lives in the key tree.

    `workload` is the task id for our own endpoints and a container id for those
    that calico-mesos wrote; `endpoint` is 32 hex digits for both.
    """

    host: HostName
    orchestrator: str
    workload: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """The network that one task should have."""

    id: EndpointId
    interface: InterfaceName
    mac: EUI | None
    addresses: tuple[IPAddress, ...]
    profiles: tuple[ProfileId, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    active: bool = True

    @property
    def is_reserved(self) -> bool:
        """Whether it is no network, and only keeps the key for one; see `reservation_of`."""
        return not self.active and not self.addresses


@dataclass(frozen=True, slots=True, order=True)
class HostEndpointId:
    """Where Calico describes an interface of a host itself."""

    host: HostName
    endpoint: str


@dataclass(frozen=True, slots=True)
class HostEndpoint:
    """A host's own interface, which only Felix polices.

    Its expected addresses are members of its profiles' tags, as a task's are.
    """

    id: HostEndpointId
    addresses: tuple[IPAddress, ...] = ()
    profiles: tuple[ProfileId, ...] = ()


class EndpointState(enum.Enum):
    """What an agent reports; the words are Felix's."""

    UP = "up"
    DOWN = "down"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What an agent reached for one endpoint.

    `revision` is that of the spec it acted on; `reason` is empty when up.
    """

    state: EndpointState
    revision: int
    addresses: tuple[IPAddress, ...] = ()
    reason: str = ""


class Action(enum.Enum):
    """What a rule does with a packet that it matches."""

    ALLOW = "allow"
    DENY = "deny"
    LOG = "log"
    NEXT_TIER = "next-tier"


@dataclass(frozen=True, slots=True)
class PortRange:
    """First and last port, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions of a rule, all of which must hold; None asks for nothing.

    The same shape serves the plain and the negated (`!`) fields. `protocol` is
    a number. Selectors are kept as text: they are recognised, not enforced.
    """

    protocol: int | None = None
    src_tag: Tag | None = None
    dst_tag: Tag | None = None
    src_net: IPNetwork | None = None
    dst_net: IPNetwork | None = None
    src_ports: tuple[PortRange, ...] = ()
    dst_ports: tuple[PortRange, ...] = ()
    icmp_type: int | None = None
    icmp_code: int | None = None
    src_selector: str | None = None
    dst_selector: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a profile; `ip_version` None means both families."""

    action: Action
    match: Match = Match()
    unless: Match = Match()
    ip_version: int | None = None
    log_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A named rule set that endpoints subscribe to.

    `problem` says why the rules in the datastore cannot be enforced; such a
    profile closes what names it. `labels` count as those of its endpoints.
    """

    id: ProfileId
    tags: tuple[Tag, ...] = ()
    inbound: tuple[Rule, ...] = ()
    outbound: tuple[Rule, ...] = ()
    problem: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class PolicyId:
    """Where a policy stands among Calico's tiers."""

    tier: str
    name: str

    def __str__(self) -> str:
        """As operators name it."""
        return f"{self.tier}/{self.name}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A tiered policy, as far as it matters here: whom it selects.

    Its rules are not enforced, so whoever it selects is closed.
    """

    id: PolicyId
    selector: Selector


@dataclass(frozen=True, slots=True)
class Pool:
    """A range that task addresses come from."""

    cidr: IPNetwork
    masquerade: bool = False
    disabled: bool = False
    ipam: bool = True


@dataclass(frozen=True, slots=True)
class Protected:
    """An address range that tasks never reach; `port` None closes it whole."""

    network: IPNetwork
    port: int | None = None


@dataclass(frozen=True, slots=True)
class HostFlags:
    """What an agent was told of its host: which ports tasks reach, and what they never do."""

    host_ports: tuple[PortRange, ...] = ()
    protected: tuple[Protected, ...] = ()


@dataclass(frozen=True, slots=True)
class HostRecord:
    """What an agent registers of its host, under `/marathon-calico/v1/host`.

    `address` is on the underlay; `others` are the host's further ones. Packets
    of tasks to any of them keep their source address, by which they are judged.
    `listen` is HOST:PORT of its pages, without HOST for every address. Agents
    of an older version tell neither that nor `flags`.
    `forgotten` is an operator's word that the host is gone: it gets no task and
    nobody waits for it, but its blocks are routed until their addresses are free.
    `locators` are how its agent finds tasks that no plugin attached, None if it
    does not tell.
    """

    name: HostName
    address: IPAddress
    boot_id: BootId
    machine_id: str
    version: str
    others: tuple[IPAddress, ...] = ()
    forgotten: bool = False
    listen: str = ""
    flags: HostFlags | None = None
    locators: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container that was attached before a task ran, and waits for one to claim its addresses.

    `task` is what the host's Mesos agent says that it runs, empty while that is
    not known. `since` is RFC 3339, on the host's clock.
    """

    container: ContainerId
    addresses: tuple[IPAddress, ...]
    task: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that an agent did not carry out, and what it told the caller.

    `caller` is which plugin asked, or "native"; `kind` is "refused" for what
    will not help again, "unavailable" for what may, "unknown" for a container
    that is not there. `since` is RFC 3339, on the host's clock.
    """

    caller: str
    kind: str
    why: str
    since: str = ""


@dataclass(frozen=True, slots=True)
class AppliedRecord:
    """How far an agent has come, under `/marathon-calico/v1/applied`.

    `revision` is the newest datastore revision that the kernel reflects.
    `gone` are tasks whose namespace is proven gone; `problems` are sentences
    about the host as a whole, such as a pool that overlaps its network.
    `attachments` are those that no task has claimed; `refusals` the last few
    calls that came to nothing, in order. `guid` and `takeover` name the store
    that the revision is one of; `doubt` is why the agent does not believe the
    store that it writes this to, empty if it does. An agent that is too old to
    say of which store it tells has no `guid`, one that has seen none an empty
    one.
    """

    host: HostName
    boot_id: BootId
    revision: int
    gone: tuple[TaskId, ...] = ()
    problems: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    guid: str | None = ""
    takeover: int = 0
    doubt: str = ""


class TaskVerdict(enum.Enum):
    """The controller's word on one task, before any agent acted."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PortOpening:
    """One discovery port: a number from 1 to 65535 and "tcp" or "udp"."""

    protocol: str
    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What the controller knows of a task, under `/marathon-calico/v1/task`.

    It marks the endpoint as ours. `groups` and `ports` are those of the task's
    own app version. `reason` is empty when accepted without remark; `since` is
    RFC 3339 and is for people only. `container` is what was attached before the
    task ran, empty for a task that a locator finds; its interface and MAC
    address are named after it. A `pod` is an instance of one: all its
    containers share the endpoint.
    """

    task: TaskId
    app: str
    app_version: str
    host: HostName
    groups: tuple[str, ...] = ()
    ports: tuple[PortOpening, ...] = ()
    ports_declared: bool = True
    verdict: TaskVerdict = TaskVerdict.ACCEPTED
    reason: str = ""
    since: str = ""
    container: str = ""
    pod: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of the datastore that one agent needs, at one revision.

    `spec_revisions` has the revision of each spec, to be reported back.
    `block_hosts` is the affinity of each block; `None` marks none.
    """

    revision: int = 0
    specs: Mapping[EndpointId, EndpointSpec] = field(default_factory=dict)
    spec_revisions: Mapping[EndpointId, int] = field(default_factory=dict)
    profiles: Mapping[ProfileId, Profile] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()
    block_hosts: Mapping[IPNetwork, HostName | None] = field(default_factory=dict)
    hosts: Mapping[HostName, HostRecord] = field(default_factory=dict)
    policies: Mapping[PolicyId, Policy] = field(default_factory=dict)
    host_endpoints: Mapping[HostEndpointId, HostEndpoint] = field(default_factory=dict)

    def members(self) -> Iterator[EndpointSpec | HostEndpoint]:
        """Whoever carries the tags of its profiles, on any host."""
        yield from self.specs.values()
        yield from self.host_endpoints.values()
