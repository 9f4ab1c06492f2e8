"""From `web.1:80/udp`, `host-a` or `10.1.2.3` to a party of a connection."""

import re
from dataclasses import dataclass, replace

import click
from netaddr import INET_PTON, AddrFormatError, IPAddress

from calico.model import PROTOCOLS, HostName
from reconciler.cli.command import NoSuchThing
from reconciler.cli.judging.named import alike, ambiguous, match_tasks
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.core.reaching.reach import EndpointParty, HostParty, OutsideParty, Party

_TARGET = re.compile(
    r"\[?(?P<name>.+?)\]?(?::(?P<port>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|icmp|icmpv6))?"
)
WITH_PORTS = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Side:
    """One end of the question; `party` is None for a task without an endpoint.

    `others` are tasks of the same app, groups and ports that were meant as well.
    """

    kind: str
    name: str
    party: Party | None
    addresses: tuple[IPAddress, ...] = ()
    task: TaskView | None = None
    others: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of a task; none for anything else."""
        return self.task.groups if self.task else ()

    @property
    def app(self) -> str:
        """The app of a task, or its name if that is not known."""
        return (self.task.app if self.task else "") or self.name

    @property
    def port_term(self) -> str:
        """What Marathon calls a port that is declared: pods have endpoints, apps discovery."""
        pod = self.task is not None and self.task.record is not None and self.task.record.pod
        return "an endpoint" if pod else "a discovery port"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection goes; without a protocol every port is asked about."""

    side: Side
    protocol: str | None = None
    port: int | None = None


def parse_parties(cluster: Cluster, source: str, destination: str) -> tuple[Side, Target]:
    """Both ends; between tasks of one app they are two of them, if there are two."""
    sender = parse_source(cluster, source)
    return sender, parse_target(cluster, destination, sender.task)


def parse_target(cluster: Cluster, text: str, besides: TaskView | None = None) -> Target:
    """DST[:PORT][/PROTOCOL]; a name that means something as it is has no suffix."""
    whole = find_side(cluster, text, besides)
    if whole is not None:
        return Target(whole)
    match = _TARGET.fullmatch(text)
    side = find_side(cluster, match["name"], besides) if match is not None else None
    if match is None or side is None:
        name, _, suffix = text.rpartition(":")
        if name and find_side(cluster, name) is not None:
            raise click.BadParameter(f"{suffix!r} is no port, as in {name}:80 or {name}:53/udp")
        if match is None:
            raise _nothing(text)
        raise _nothing(match["name"], f":{match['port']}" if match["port"] else "")
    port = int(match["port"]) if match["port"] else None
    protocol = match["protocol"] or ("tcp" if port is not None else None)
    if port is not None and not 1 <= port <= 65535:
        raise click.BadParameter(f"port {port} is not between 1 and 65535")
    if port is not None and protocol not in WITH_PORTS:
        raise click.BadParameter(f"{protocol} has no ports")
    return Target(side, protocol, port)


def parse_source(cluster: Cluster, text: str) -> Side:
    """A task, a host or an address; raises NoSuchThing."""
    side = find_side(cluster, text)
    if side is None:
        raise _nothing(text)
    return side


def find_side(cluster: Cluster, name: str, besides: TaskView | None = None) -> Side | None:
    """What a name means: a host, an address, a task; several are refused unless alike."""
    if any(host.name == name for host in cluster.hosts()):
        return _host(cluster, HostName(name))
    address = _address(name)
    if address is not None:
        return _holder(cluster, address)
    found = match_tasks(cluster.tasks(), name)
    if len(found) > 1:
        chosen = [each for each in alike(found) if each != besides]
        if not chosen:
            raise ambiguous(name, found)
        others = tuple(each.name for each in found if each != chosen[0])
        return replace(_task(chosen[0]), others=others)
    return _task(found[0]) if found else None


def _nothing(name: str, port: str = "") -> NoSuchThing:
    return NoSuchThing(
        f"{name!r} is no task with a network of ours (id, prefix or app id), registered host or"
        " address; see `get tasks` and `get hosts`; name a task on its host's network by that host,"
        f" and any other machine by its address, as in 10.0.0.5{port}"
    )


def _address(text: str) -> IPAddress | None:
    try:
        return IPAddress(text, flags=INET_PTON)
    except (AddrFormatError, ValueError):
        return None


def _holder(cluster: Cluster, address: IPAddress) -> Side:
    for task in cluster.tasks():
        if address in task.addresses:
            return _task(task, (address,))
    for host in cluster.snapshot.hosts.values():
        if address in (host.address, *host.others):
            return Side(
                kind="host", name=host.name, party=HostParty(host.name), addresses=(address,)
            )
    return Side(kind="address", name=str(address), party=OutsideParty(), addresses=(address,))


def _host(cluster: Cluster, name: HostName) -> Side:
    record = cluster.snapshot.hosts.get(name)
    addresses = (record.address, *record.others) if record else ()
    return Side(kind="host", name=name, party=HostParty(name), addresses=addresses)


def _task(task: TaskView, only: tuple[IPAddress, ...] = ()) -> Side:
    party = EndpointParty(task.spec) if task.spec is not None else None
    return Side(
        kind="task", name=task.name, party=party, addresses=only or task.addresses, task=task
    )


def protocol_number(protocol: str, version: int) -> int:
    """The number of a protocol in one family: a ping is another one in IPv6."""
    if protocol in ("icmp", "icmpv6"):
        return PROTOCOLS["icmp" if version == 4 else "icmpv6"]
    return PROTOCOLS[protocol]
