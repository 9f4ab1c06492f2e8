"""Which local endpoints may be wired, and why the others stay closed."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from netaddr import EUI, IPNetwork

from calico.closing import policy_reason, selecting_policies
from calico.dataplane.render.addresses import AddressPlan
from calico.dataplane.render.memory import PartMemory
from calico.dataplane.state import HostConfig, Link, Route, RouteKind, Wiring
from calico.model import EndpointId, EndpointSpec, InterfaceName, ProfileId, Snapshot, TaskId
from calico.names import interface_of

#: The kernel's 15 characters, and none that nftables takes for a wildcard.
_INTERFACE = re.compile(r"cali[a-zA-Z0-9_-]{1,11}")


@dataclass(frozen=True, slots=True)
class OpenEndpoint:
    """A local endpoint that has all it needs to be wired, and what that takes.

    `addresses` are pairs of family and text; `mac` is text as nftables has it.
    """

    id: EndpointId
    interface: InterfaceName
    mac: str
    addresses: tuple[tuple[int, str], ...]
    profiles: tuple[ProfileId, ...]
    link: Link
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A local endpoint judged for itself; `opened` is None if `reasons` say why."""

    keys: tuple[tuple[int, int], ...]
    reasons: tuple[str, ...]
    opened: OpenEndpoint | None


def judge_endpoints(
    snapshot: Snapshot, config: HostConfig, plan: AddressPlan, memory: PartMemory[Candidate]
) -> tuple[tuple[OpenEndpoint, ...], Mapping[EndpointId, str]]:
    """The local endpoints to wire, in order, and what keeps some of them, or others, shut."""
    local = sorted(
        (spec for spec in snapshot.specs.values() if spec.id.host == config.host and spec.active),
        key=lambda spec: spec.id.workload + spec.id.endpoint,
    )
    judged = memory.of(local, (config, plan), lambda spec: _judge(spec, config, plan))
    interfaces = Counter(spec.interface for spec in local)
    holders = Counter(key for _, candidate in judged for key in candidate.keys)
    selected = selecting_policies(local, snapshot.profiles, snapshot.policies)
    opened: list[OpenEndpoint] = []
    problems: dict[EndpointId, str] = {}
    for spec, candidate in judged:
        shared = tuple(_shared(spec, candidate, interfaces, holders))
        if candidate.opened is None or shared:
            problems[spec.id] = "; ".join((*candidate.reasons, *shared))
        elif spec.id in selected:
            # Wired but closed: its host still reaches it, so that it goes on.
            problems[spec.id] = policy_reason(selected[spec.id])
            opened.append(replace(candidate.opened, profiles=()))
        else:
            opened.append(candidate.opened)
    return tuple(opened), problems


def mac_text(mac: EUI) -> str:
    """A MAC address as nftables writes it."""
    return ":".join(f"{word:02x}" for word in mac.words)


def _judge(spec: EndpointSpec, config: HostConfig, plan: AddressPlan) -> Candidate:
    reasons = (*_shape_reasons(spec), *filter(None, map(plan.objection, spec.addresses)))
    keys = tuple({(address.version, int(address)) for address in spec.addresses})
    if reasons or spec.mac is None:
        return Candidate(keys, reasons, None)
    # What was there before its task must be named as before, or it would be made anew.
    owner = "" if spec.interface == interface_of(spec.id) else spec.interface
    task = TaskId(spec.id.workload)
    wiring = Wiring(task=task, mac=spec.mac, addresses=spec.addresses, mtu=config.mtu, owner=owner)
    opened = OpenEndpoint(
        id=spec.id,
        interface=spec.interface,
        mac=mac_text(spec.mac),
        addresses=tuple((address.version, str(address)) for address in spec.addresses),
        profiles=spec.profiles,
        link=Link(spec.interface, wiring.alias, wiring=wiring),
        routes=tuple(_routes(spec, config)),
    )
    return Candidate(keys, (), opened)


def _routes(spec: EndpointSpec, config: HostConfig) -> Iterator[Route]:
    for address in spec.addresses:
        yield Route(
            IPNetwork(address),
            RouteKind.TASK,
            interface=spec.interface,
            source=config.address if address.version == config.address.version else None,
        )


def _shape_reasons(spec: EndpointSpec) -> Iterable[str]:
    if not _INTERFACE.fullmatch(spec.interface):
        yield f"{spec.interface!r} is no name that an interface of ours can have"
    if spec.mac is None:
        yield "the endpoint has no MAC address"
    elif spec.mac.words[0] & 1:
        yield f"{spec.mac} is a group MAC address"
    if not spec.addresses:
        yield "the endpoint has no address"


def _shared(
    spec: EndpointSpec,
    candidate: Candidate,
    interfaces: Mapping[InterfaceName, int],
    holders: Mapping[tuple[int, int], int],
) -> Iterator[str]:
    if interfaces[spec.interface] > 1:
        yield f"interface {spec.interface} is another endpoint's too"
    if any(holders[key] > 1 for key in candidate.keys):
        for address in spec.addresses:
            if holders[address.version, int(address)] > 1:
                yield f"address {address} is another endpoint's too"
