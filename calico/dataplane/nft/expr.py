"""The few nftables expressions that our rules are made of, as libnftables JSON."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from netaddr import IPNetwork

from calico.dataplane.state import NftRule
from calico.model import INTERFACE_PREFIX, PortRange

Statement = Mapping[str, object]

#: What nftables calls every interface of ours.
OUR_INTERFACES = f"{INTERFACE_PREFIX}*"

ACCEPT: Statement = {"accept": None}
DROP: Statement = {"drop": None}
RETURN: Statement = {"return": None}
COUNT: Statement = {"counter": None}
MASQUERADE: Statement = {"masquerade": None}

_FIN_SYN_RST_ACK, _SYN = 0x17, 0x02
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def rule(*statements: Statement) -> NftRule:
    """A rule of these statements, named by a digest of them."""
    text = _ENCODER.encode(statements)
    return NftRule(hashlib.sha256(text.encode()).hexdigest()[:20], text)


def dropping(*statements: Statement) -> NftRule:
    """A rule that drops, and counts what it drops."""
    return rule(*statements, COUNT, DROP)


def ends_in_drop(each: NftRule) -> bool:
    """Whether what a rule applies to is dropped; not of one whose words are unknown."""
    if not each.expression:
        return False
    statements = json.loads(each.expression)
    return bool(statements) and statements[-1] == DROP


def matches(left: object, right: object, *, negated: bool = False) -> Statement:
    """`left` equals, or lies in, `right`; or does not."""
    return {"match": {"op": "!=" if negated else "==", "left": left, "right": right}}


def meta(key: str) -> Statement:
    """A property of the packet outside its bytes."""
    return {"meta": {"key": key}}


def payload(protocol: str, name: str) -> Statement:
    """A field of a protocol header."""
    return {"payload": {"protocol": protocol, "field": name}}


def concat(*parts: Statement) -> Statement:
    """Several fields looked up as one."""
    return {"concat": list(parts)}


def address(version: int, side: str) -> Statement:
    """The source ("saddr") or destination ("daddr") of one family.

    nftables adds the check of the family by itself.
    """
    return payload("ip" if version == 4 else "ip6", side)


def family(version: int) -> Statement:
    """The packet is of this family."""
    return matches(meta("nfproto"), f"ipv{version}")


def ours(key: str, *, negated: bool = False) -> Statement:
    """The interface ("iifname", "oifname") is a task's."""
    return matches(meta(key), OUR_INTERFACES, negated=negated)


def strays() -> Statement:
    """No route leads back to the packet's source by the device that it came by."""
    way_back = {"fib": {"result": "oif", "flags": ["saddr", "mark", "iif"]}}
    return matches(way_back, 0)


def hop_limit(version: int) -> Statement:
    """How many routers the packet may still pass."""
    return payload("ip", "ttl") if version == 4 else payload("ip6", "hoplimit")


def assign(field: Statement, value: int) -> Statement:
    """Write a field of the packet; nftables keeps the header's checksum right."""
    return {"mangle": {"key": field, "value": value}}


def any_of(values: Iterable[int]) -> Mapping[str, object]:
    """Numbers as an anonymous set."""
    return {"set": list(values)}


def number_range(first: int, last: int) -> Mapping[str, object]:
    """A range of numbers, both included."""
    return {"range": [first, last]}


def within(network: IPNetwork) -> object:
    """A network as the right side of a match."""
    cidr = network.cidr
    if cidr.size == 1:
        return str(cidr.ip)
    return {"prefix": {"addr": str(cidr.ip), "len": cidr.prefixlen}}


#: A range of no more ports is listed port by port.
LISTED_PORTS = 16


def port_conditions(ranges: Iterable[PortRange]) -> tuple[object, ...]:
    """Right sides of matches: a port is among these if it fits one of them.

    A set of intervals would be one side. But while the rule that it belongs to
    is brought in, the kernel looks into such a set in vain for some packets
    (measured on 6.18), and a denial would let them through. So wide ranges
    stand for themselves.
    """
    joined: list[PortRange] = []
    for each in sorted(ranges, key=lambda r: (r.first, r.last)):
        if joined and each.first <= joined[-1].last + 1:
            joined[-1] = PortRange(joined[-1].first, max(joined[-1].last, each.last))
        else:
            joined.append(each)
    wide = [each for each in joined if each.last - each.first >= LISTED_PORTS]
    listed = [
        port for each in joined if each not in wide for port in range(each.first, each.last + 1)
    ]
    return (*one_or_any_of(listed), *(number_range(each.first, each.last) for each in wide))


def one_or_any_of(values: Sequence[object]) -> tuple[object, ...]:
    """Single values as the right side of a match; none for no value."""
    return (values[0] if len(values) == 1 else {"set": list(values)},) if values else ()


def goto(chain: str) -> Statement:
    """Go on in another chain and do not come back."""
    return {"goto": {"target": chain}}


def jump(chain: str) -> Statement:
    """Go on in another chain; come back where it returns."""
    return {"jump": {"target": chain}}


def verdict_of(key: Statement, map_name: str) -> Statement:
    """Do what a verdict map says of the key, if it says anything."""
    return {"vmap": {"key": key, "data": f"@{map_name}"}}


def opening(*, negated: bool = False) -> Statement:
    """A TCP segment that is a pure SYN; or one that is not."""
    flags = {"&": [payload("tcp", "flags"), _FIN_SYN_RST_ACK]}
    return matches(flags, _SYN, negated=negated)


def by_connection(established: Statement, related: str) -> Statement:
    """What becomes of a tracked connection's packets; drop what cannot be one's.

    What is only related to one is judged by the chain `related`.
    """
    verdicts = [
        ["established", established],
        ["related", goto(related)],
        ["invalid", DROP],
    ]
    return {"vmap": {"key": tracked("state"), "data": {"set": verdicts}}}


def connection(key: str, direction: str) -> Statement:
    """A property of the tracked connection, as its "original" or its "reply" packets show it."""
    return {"ct": {"key": key, "dir": direction}}


def tracked(key: str) -> Statement:
    """A property of the packet's connection as it is tracked."""
    return {"ct": {"key": key}}


def replying(*, negated: bool = False) -> Statement:
    """The packet goes towards who began the tracked connection; or the other way."""
    return matches(tracked("direction"), "reply", negated=negated)


def label(bit: int) -> Statement:
    """Set one bit of the tracked connection's label and keep the others."""
    # A number would be taken for the label itself, a text is the name of a bit.
    return {"mangle": {"key": tracked("label"), "value": str(bit)}}


def labelled(bit: int) -> Statement:
    """The tracked connection's label has this bit."""
    return matches({"&": [tracked("label"), str(bit)]}, str(bit))


def set_mark(bit: int) -> Statement:
    """Set one bit of the packet's mark and keep the others."""
    return {"mangle": {"key": meta("mark"), "value": {"|": [meta("mark"), bit]}}}
