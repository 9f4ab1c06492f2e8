"""What a host's kernel holds, or should hold, for us: owned objects only.

A HostState is the currency of `render` (what should be), `observe` (what is)
and `plan` (the difference). Equal values mean equal behaviour.
"""

import enum
import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from netaddr import EUI, IPAddress, IPNetwork

from calico.model import HostName, InterfaceName, PortRange, Protected, TaskId

TABLE = "marathon-calico"
ROUTE_PROTOCOL = 80
ROUTE_TABLE = 80
RULE_PREFERENCES = (100, 101)
DEVICE_GROUP = 80
MAIN_TABLE = 254
#: The bit of the packet mark that is ours unless an agent is told another.
MARK = 0x10000
#: What a task's side is called unless somebody asks for another name.
TASK_INTERFACE = "eth0"
GATEWAY4 = IPAddress("169.254.1.1")
GATEWAY6 = IPAddress("fe80::1")
#: The host side of every veth has this address, so that a task's permanent
#: neighbour entry for its gateway never has to change.
HOST_MAC = EUI("ee:ee:ee:ee:ee:ee")


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a task's side of its veth is set up; `mtu` is in bytes.

    `device` is the interface's name inside. `owner` is whose the link is for as
    long as it stands, if not the task's: that of a container is there before
    any task claims it.
    """

    task: TaskId
    mac: EUI
    addresses: tuple[IPAddress, ...]
    mtu: int
    device: str = TASK_INTERFACE
    owner: str = ""

    @property
    def alias(self) -> str:
        """What the finished link carries in the kernel: its owner and a digest.

        At most 255 bytes fit (IFALIASZ), hence a digest of the rest.
        """
        parts = (str(self.mac), *map(str, sorted(self.addresses)), str(self.mtu))
        digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
        return f"{self.owner or self.task} {digest}"


@dataclass(frozen=True, slots=True)
class Link:
    """The host side of one task's veth.

    The alias is set last, when the task's side is configured: a link whose
    alias differs from its wiring's is half built, or another task's, and is
    replaced. `sound` is whether its MAC address and settings are those it was
    made with. `wiring` is known of desired links only. `carried` is whether the
    task's side is up too, which is for the task to say: no link differs by it.
    """

    name: InterfaceName
    alias: str
    up: bool = True
    wiring: Wiring | None = field(default=None, compare=False)
    sound: bool = True
    carried: bool = field(default=True, compare=False)


class RouteKind(enum.Enum):
    """How a packet to the destination leaves."""

    TASK = "task"
    HOST = "host"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True, slots=True)
class Route:
    """One route that we own.

    TASK leaves by `interface` with `source` as the host's own source address,
    HOST goes via `gateway`, BLACKHOLE drops.
    """

    destination: IPNetwork
    kind: RouteKind
    table: int = ROUTE_TABLE
    interface: InterfaceName | None = None
    gateway: IPAddress | None = None
    source: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class MarkRule:
    """`ip rule`: packets that our prerouting chain marked look into our table."""

    version: int
    preference: int
    mark: int | None


@dataclass(frozen=True, slots=True)
class NftSet:
    """One set or map of our table.

    `kind` is nftables' own text for the type, as in "ipv4_addr . inet_service".
    `elements` are nftables JSON values frozen to tuples; a map has pairs of
    element and verdict.
    """

    name: str
    kind: tuple[str, ...]
    elements: frozenset[object]
    interval: bool = False
    verdicts: bool = False


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule: its expression as libnftables JSON text, and its name.

    `digest` is a hash of the expression. It is kept in the kernel as the
    rule's comment and is what comparison looks at, since the kernel gives
    expressions back in another form than it took them.
    """

    digest: str
    expression: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class BaseHook:
    """Where a base chain sits."""

    kind: str
    hook: str
    priority: int
    policy: str


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of our table; base chains have a hook and are never deleted."""

    name: str
    rules: tuple[NftRule, ...]
    base: BaseHook | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """Everything that we own in one host's kernel."""

    links: Mapping[InterfaceName, Link] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    mark_rules: frozenset[MarkRule] = frozenset()
    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, NftSet] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """What went through a device since it was made, as that side counts it."""

    received_packets: int
    received_bytes: int
    received_dropped: int
    sent_packets: int
    sent_bytes: int
    sent_dropped: int


@dataclass(frozen=True, slots=True)
class LinkSide:
    """One end of a veth."""

    name: str
    alias: str
    up: bool
    carrier: bool
    mac: EUI
    mtu: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class SeenTaskLink:
    """A task's veth; `inside` is None where its other end cannot be told."""

    host: LinkSide
    inside: LinkSide | None = None
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule of a chain has counted; None where it has no counter."""

    digest: str
    packets: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """One tracked connection, by its first packet and by who answers it.

    The ports are None where the protocol has none; `icmp` is type, code and
    identifier of an echo or the like. `answering` differs from `destination`
    where the destination was translated, `answered` from `source` where the
    source was. `replied` tells whether anybody has answered so far; it is no
    part of what the connection is.
    """

    protocol: int
    source: IPAddress
    destination: IPAddress
    answering: IPAddress
    answered: IPAddress
    source_port: int | None = None
    destination_port: int | None = None
    icmp: tuple[int, int, int] | None = None
    replied: bool = field(default=True, compare=False)

    @property
    def ends(self) -> frozenset[IPAddress]:
        """Every address that either direction names."""
        return frozenset((self.source, self.destination, self.answering, self.answered))

    def concerns(self, addresses: Container[IPAddress]) -> bool:
        """Whether either direction names one of these."""
        return (
            self.source in addresses
            or self.destination in addresses
            or self.answering in addresses
            or self.answered in addresses
        )


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the host has of its own, against which pools and flags are judged.

    `others` are its addresses that other machines may know, less `address`,
    those of the same interface first.
    `networks` are its addresses with their prefixes and every foreign route
    except the default. `interface`, `address` and `mtu` are those of the
    default route, or of the address that was asked for.
    """

    interface: str
    address: IPAddress
    mtu: int
    networks: tuple[IPNetwork, ...] = ()
    others: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What an agent was told by its flags and found out about its host."""

    host: HostName
    address: IPAddress
    mtu: int
    underlay: str
    mark: int = MARK
    host_ports: tuple[PortRange, ...] = ()
    protected: tuple[Protected, ...] = ()
    route_to_hosts: bool = True
    networks: tuple[IPNetwork, ...] = ()
