"""What an agent is told by its flags, and how their texts are parsed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from netaddr import IPAddress, IPNetwork

from calico.dataplane.state import MARK
from calico.datastore.api import Datastore
from calico.datastore.members import ETCD_PORT
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import HostName, PortRange, Protected
from reconciler.agent.locators.api import LocatorName
from reconciler.core.tasks.profiles import NETWORK
from reconciler.runtime.listener import ListenAddress

LOCATORS: tuple[LocatorName, ...] = ("mesos",)
LISTEN = ListenAddress("", 9402)
#: This host's own.
MESOS_AGENT_PORT = 5051
MESOS_AGENT = f"http://127.0.0.1:{MESOS_AGENT_PORT}"
#: The Mesos agent, DNS, and what Mesos gives to tasks on the host's network.
HOST_PORTS = f"{MESOS_AGENT_PORT},53,31000-32000"
STATE_DIRECTORY = Path("/var/lib/marathon-calico")
DOCKER_SOCKET = Path("/var/run/docker.sock")

Resolve = Callable[[str], tuple[IPAddress, ...]]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """One agent, as its flags describe it.

    `open_datastore` gives every thread a client of its own. `address` None is
    that of the default route, `socket` None the usual one if it can be had.
    `networks` are those that the CNI plugin serves.
    """

    host: HostName
    open_datastore: Callable[[], Datastore]
    address: IPAddress | None = None
    route_to_hosts: bool = True
    mark: int = MARK
    locators: tuple[LocatorName, ...] = LOCATORS
    # May hold user and password.
    mesos_agent: str = field(default=MESOS_AGENT, repr=False)
    docker_socket: Path = DOCKER_SOCKET
    host_ports: tuple[PortRange, ...] = field(default_factory=lambda: parse_host_ports(HOST_PORTS))
    protected: tuple[Protected, ...] = ()
    state_dir: Path = STATE_DIRECTORY
    socket: Path | None = None
    networks: frozenset[str] = frozenset({NETWORK})
    listen: ListenAddress = LISTEN


def parse_mark(text: str) -> int:
    """One bit of a packet mark, as in its default; raises ValueError."""
    try:
        mark = int(text, 16)
    except ValueError:
        mark = 0
    if not 0 < mark < 2**32 or mark & (mark - 1):
        raise ValueError(f"{text!r} is not one bit of 32, such as {MARK:#x}")
    return mark


def parse_host_ports(text: str) -> tuple[PortRange, ...]:
    """`5051,53,31000-32000` as ranges in ascending order, merged where they touch.

    An empty text opens nothing. Raises ValueError.
    """
    ranges = sorted(
        (_parse_range(part.strip()) for part in text.split(",") if part.strip()),
        key=lambda each: (each.first, each.last),
    )
    merged: list[PortRange] = []
    for each in ranges:
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


def parse_protected(texts: Iterable[str], resolve: Resolve) -> tuple[Protected, ...]:
    """`CIDR[:PORT]`, `ADDRESS[:PORT]` or `NAME[:PORT]`; `[IPv6]:PORT` too.

    A name stands for all of its addresses. Raises ValueError, also for a name
    that `resolve` finds no address for: a range that is silently not closed
    would be open.
    """
    found: dict[Protected, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_parse_protected(text.strip(), resolve)))
    return tuple(found)


def protected_servers(urls: Iterable[str], resolve: Resolve) -> tuple[Protected, ...]:
    """The hosts and ports of some URLs, closed to tasks unless they are loopback."""
    texts = []
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname is None:
            raise ValueError(f"{url!r} names no host")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        texts.append(f"{host}:{parts.port or ETCD_PORT}")
    return tuple(
        each for each in parse_protected(texts, resolve) if not each.network.ip.is_loopback()
    )


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _parse_range(text: str) -> PortRange:
    first, dash, last = text.partition("-")
    ports = PortRange(_parse_port(first), _parse_port(last if dash else first))
    if ports.last < ports.first:
        raise ValueError(f"{text!r} ends before it begins; write it as {ports.last}-{ports.first}")
    return ports


def _parse_protected(text: str, resolve: Resolve) -> tuple[Protected, ...]:
    target, port = _split_port(text)
    network = _parse_network(target)
    if network is not None:
        return (Protected(network, port),)
    if "/" in target or not target:
        raise ValueError(f"{text!r} is not CIDR[:PORT], such as 10.0.0.5/32:{ETCD_PORT}")
    addresses = resolve(target)
    if not addresses:
        raise ValueError(f"{target!r} has no address; name it by its address")
    return tuple(Protected(IPNetwork(address), port) for address in addresses)


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [IPv6]:PORT, such as [fd00::5]:{ETCD_PORT}")
        return inside, _parse_port(rest[1:]) if rest else None
    # More than one colon without brackets can only be a whole IPv6 network.
    if text.count(":") == 1:
        target, _, port = text.partition(":")
        return target, _parse_port(port)
    return text, None


def _parse_network(text: str) -> IPNetwork | None:
    try:
        return parse_network(text)
    except InvalidValue:
        return None
