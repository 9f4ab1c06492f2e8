"""Which local endpoints may be wired, and why the others stay closed."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netaddr import EUI, IPAddress

from calico.dataplane.render_addresses import AddressPlan
from calico.dataplane.state import HostConfig, Link, Wiring
from calico.model import EndpointId, EndpointSpec, InterfaceName, ProfileId, Snapshot, TaskId

#: The kernel's 15 characters, and none that nftables takes for a wildcard.
_INTERFACE = re.compile(r"cali[a-zA-Z0-9_-]{1,11}")


@dataclass(frozen=True, slots=True)
class OpenEndpoint:
    """A local endpoint that has all it needs to be wired."""

    id: EndpointId
    interface: InterfaceName
    mac: EUI
    addresses: tuple[IPAddress, ...]
    profiles: tuple[ProfileId, ...]

    def link(self, mtu: int) -> Link:
        """The host side of its veth."""
        wiring = Wiring(TaskId(self.id.workload), self.mac, self.addresses, mtu)
        return Link(self.interface, wiring.alias, wiring=wiring)


def judge_endpoints(
    snapshot: Snapshot, config: HostConfig, plan: AddressPlan
) -> tuple[tuple[OpenEndpoint, ...], Mapping[EndpointId, str]]:
    """The local endpoints to wire, in order, and what keeps each other one shut."""
    local = sorted(
        (spec for spec in snapshot.specs.values() if spec.id.host == config.host and spec.active),
        key=lambda spec: spec.id,
    )
    interfaces = Counter(spec.interface for spec in local)
    addresses = Counter(address for spec in local for address in set(spec.addresses))
    opened: list[OpenEndpoint] = []
    problems: dict[EndpointId, str] = {}
    for spec in local:
        reasons = _reasons(spec, interfaces, addresses, plan)
        if reasons or spec.mac is None:
            problems[spec.id] = "; ".join(reasons)
        else:
            opened.append(
                OpenEndpoint(spec.id, spec.interface, spec.mac, spec.addresses, spec.profiles)
            )
    return tuple(opened), problems


def _reasons(
    spec: EndpointSpec,
    interfaces: Mapping[InterfaceName, int],
    addresses: Mapping[IPAddress, int],
    plan: AddressPlan,
) -> list[str]:
    reasons = list(_shape_reasons(spec))
    if interfaces[spec.interface] > 1:
        reasons.append(f"interface {spec.interface} is another endpoint's too")
    for address in spec.addresses:
        objection = plan.objection(address)
        if objection:
            reasons.append(objection)
        if addresses[address] > 1:
            reasons.append(f"address {address} is another endpoint's too")
    return reasons


def _shape_reasons(spec: EndpointSpec) -> Iterable[str]:
    if not _INTERFACE.fullmatch(spec.interface):
        yield f"{spec.interface!r} is no name that an interface of ours can have"
    if spec.mac is None:
        yield "the endpoint has no MAC address"
    elif spec.mac.words[0] & 1:
        yield f"{spec.mac} is a group MAC address"
    if not spec.addresses:
        yield "the endpoint has no address"
