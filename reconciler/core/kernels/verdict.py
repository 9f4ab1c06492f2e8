"""What a host's kernel, as it was seen, does with the first packet of a connection.

Rules, routes and links are those that the kernel holds, not those that it
should hold; beside the answer of the policy it shows whether the host agrees.
"""

from dataclasses import dataclass

from netaddr import IPAddress

from calico.dataplane.nft.walk import Probe, Table, Verdict, Walked, walk
from calico.dataplane.render.chains import FORWARD, INPUT, PREROUTING
from calico.dataplane.render.policy import is_policy_chain
from calico.dataplane.state import MAIN_TABLE, HostState, NftSet, Route, RouteKind
from reconciler.core.kernels.look import Look, route_text, rules_by_digest, set_names, spoken
from reconciler.core.reaching.reach import Packet

NO_SET = NftSet("none", (), frozenset())


@dataclass(frozen=True, slots=True)
class KernelVerdict:
    """`verdict` is accept, drop or unknown; `by` is what decides, in a line."""

    verdict: str
    by: str


def kernel_verdict(look: Look, packet: Packet) -> KernelVerdict:
    """Follow a packet through one host: its checks, its way, its rules."""
    local = _holder(look.observed, packet.source)
    if local is None and packet.source in look.addresses:
        return _to_destination(look, packet, _probe(packet, "lo", ""), own=True)
    interface, mac = local or (look.underlay, "")
    probe = _probe(packet, interface, mac)
    checked = walk(_table(look), PREROUTING.hook, probe)
    if checked.verdict is not Verdict.ACCEPT:
        return _told(look, checked)
    return _to_destination(look, packet, probe, own=False)


def _to_destination(look: Look, packet: Packet, probe: Probe, *, own: bool) -> KernelVerdict:
    if packet.destination in look.addresses:
        if own:
            return KernelVerdict("accept", "it does not leave the host")
        return _told(look, walk(_table(look), INPUT.hook, probe))
    marked = own or PREROUTING.hook in look.observed.chains
    route = _route(look.observed, packet.destination, marked=marked)
    if route is None:
        outgoing, way = look.underlay, "the host's own routes"
    else:
        way = f"route {route_text(route)}"
        if route.kind is RouteKind.BLACKHOLE:
            return KernelVerdict("drop", f"{way}: nothing else leads there")
        outgoing = route.interface or look.underlay
        link = look.observed.links.get(route.interface) if route.interface is not None else None
        if route.interface is not None and (link is None or not link.up):
            return KernelVerdict("drop", f"{way}: the link is {'down' if link else 'gone'}")
    if own:
        return KernelVerdict("accept", f"{way}: no rule is asked about the host's own packets")
    forwarded = _probe(packet, probe.iifname, probe.ether_source, outgoing)
    return _told(look, walk(_table(look), FORWARD.hook, forwarded))


def _probe(packet: Packet, interface: str, mac: str, outgoing: str = "") -> Probe:
    icmp = None if packet.icmp_type is None else (packet.icmp_type, packet.icmp_code or 0)
    return Probe(
        source=packet.source,
        destination=packet.destination,
        protocol=packet.protocol,
        iifname=interface,
        oifname=outgoing,
        ether_source=mac,
        source_port=packet.source_port,
        destination_port=packet.destination_port,
        icmp=icmp,
    )


def _table(look: Look) -> Table:
    """What the kernel holds; rules that bear our names are read in our own words."""
    known = {digest: rule.expression for digest, rule in rules_by_digest(look.desired).items()}
    return Table(look.observed.chains, look.observed.sets, known)


def _told(look: Look, ended: Walked) -> KernelVerdict:
    """What decides: a rule of the policy if one did, else the last rule on the way."""
    asked = [step for step in ended.steps if is_policy_chain(step.chain)]
    step = asked[-1] if ended.verdict is Verdict.ACCEPT and asked else ended.steps[-1]
    if step.rule is None:
        return KernelVerdict(ended.verdict.value, f"end of chain {step.chain}")
    text = spoken(step.rule, rules_by_digest(look.desired), set_names(look.snapshot))
    return KernelVerdict(ended.verdict.value, f"chain {step.chain}, rule {step.number}: {text}")


def _holder(observed: HostState, address: IPAddress) -> tuple[str, str] | None:
    """The interface and MAC that packets from a local task's address must come with."""
    for element in observed.sets.get(f"source{address.version}", NO_SET).elements:
        match element:
            case ("concat", str() as interface, str() as mac, text) if text == str(address):
                return interface, mac
    return None


def _route(observed: HostState, destination: IPAddress, *, marked: bool) -> Route | None:
    """The route of ours that a packet takes; None if it is not ours to say.

    Only marked packets, and where an ip rule says so, see the table of tasks.
    """
    led = marked and any(rule.version == destination.version for rule in observed.mark_rules)
    found = [
        route
        for route in observed.routes
        if destination in route.destination and (led or route.table == MAIN_TABLE)
    ]
    return max(found, key=_preference, default=None)


def _preference(route: Route) -> tuple[bool, int]:
    return route.table != MAIN_TABLE, route.destination.prefixlen
