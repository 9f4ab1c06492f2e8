"""What an agent is told by its flags, and how their texts are parsed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from netaddr import IPAddress, IPNetwork

from calico.datastore.api import Datastore
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import HostName, PortRange, Protected
from reconciler.runtime.listener import ListenAddress

LISTEN = ListenAddress("", 9402)
#: This host's own.
MESOS_AGENT = "http://127.0.0.1:5051"
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
    mark: int = 0x10000
    locators: tuple[str, ...] = ("mesos",)
    mesos_agent: str = MESOS_AGENT
    docker_socket: Path = DOCKER_SOCKET
    host_ports: tuple[PortRange, ...] = (
        PortRange(53, 53),
        PortRange(5051, 5051),
        PortRange(31000, 32000),
    )
    protected: tuple[Protected, ...] = ()
    state_dir: Path = Path("/var/lib/marathon-calico")
    socket: Path | None = None
    networks: frozenset[str] = frozenset({"calico"})
    listen: ListenAddress = LISTEN


def parse_mark(text: str) -> int:
    """One bit of a packet mark, as in 0x10000; raises ValueError."""
    try:
        mark = int(text, 16)
    except ValueError:
        mark = 0
    if not 0 < mark < 2**32 or mark & (mark - 1):
        raise ValueError(f"{text!r} is not one bit of 32, such as 0x10000")
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
        texts.append(f"{host}:{parts.port or 2379}")
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
        raise ValueError(f"{text!r} is not CIDR[:PORT], such as 10.0.0.5/32:2379")
    addresses = resolve(target)
    if not addresses:
        raise ValueError(f"{target!r} has no address; name it by its address")
    return tuple(Protected(IPNetwork(address), port) for address in addresses)


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [IPv6]:PORT, such as [fd00::5]:2379")
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
