"""Calico's Go family as readers: libcalico-go of 2017, under calicoctl 1.x and Felix 2.x.

Made from what is known of its sources, for tests alone: nothing of ours is
imported. Its JSON is typed, passes over unknown fields and takes null for the
zero value; what it then validates is checked too.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tests.unit.families.meaning import (
    PROTOCOL_NUMBERS,
    BlockMeaning,
    EndpointMeaning,
    Fields,
    PacketMeaning,
    PoolMeaning,
    RefusedError,
    RuleMeaning,
    Rules,
)

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}\Z")
_INTERFACE = re.compile(r"[a-zA-Z0-9_-]{1,15}\Z")
_LABEL_KEY = re.compile(r"[a-zA-Z0-9_./-]{1,512}\Z")
_LABEL_VALUE = re.compile(r"[a-zA-Z0-9]?([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?\Z")
_WORKLOAD = re.compile(r"/calico/v1/host/([^/]+)/workload/([^/]+)/([^/]+)/endpoint/([^/]+)\Z")


def _check(condition: object, why: str) -> None:
    if not condition:
        raise RefusedError(why)


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RefusedError("no JSON") from error


def _typed(raw: Mapping[str, Any], name: str, kind: type, zero: Any) -> Any:
    """A field of a Go struct: absent and null are its zero value."""
    value = raw.get(name)
    if value is None:
        return zero
    wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    _check(not wrong, f"cannot unmarshal {name}: {value!r}")
    return value


def _struct(text: str) -> dict[str, Any]:
    value = _decode(text)
    _check(isinstance(value, dict), "cannot unmarshal into a struct")
    return dict(value)


def _cidr(value: object) -> str:
    _check(isinstance(value, str) and "/" in str(value), f"invalid CIDR {value!r}")
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError as error:
        raise RefusedError(f"invalid CIDR {value!r}") from error


def unescaped(segment: str) -> str:
    """A part of a key; only these two characters are ever escaped, in lower case."""
    return segment.replace("%2f", "/").replace("%25", "%")


def workload_key(key: str) -> tuple[str, str, str, str] | None:
    """Host, orchestrator, workload and endpoint; the host is never escaped."""
    found = _WORKLOAD.match(key)
    if found is None:
        return None
    host, *others = found.groups()
    orchestrator, workload, endpoint = map(unescaped, others)
    return host, orchestrator, workload, endpoint


def endpoint(text: str) -> EndpointMeaning:
    """A workload's endpoint."""
    raw = _struct(text)
    state = _typed(raw, "state", str, "")
    name = _typed(raw, "name", str, "")
    _check(_INTERFACE.match(name), f"invalid interface {name!r}")
    mac = _typed(raw, "mac", str, None)
    _check(mac is None or re.match(r"([0-9a-f]{2}:){5}[0-9a-f]{2}\Z", mac.lower()), "mac")
    nets = [_cidr(each) for v in (4, 6) for each in _typed(raw, f"ipv{v}_nets", list, [])]
    for each in nets:
        _check(each.endswith(("/32", "/128")), f"{each} is more than one address")
    profiles = _typed(raw, "profile_ids", list, [])
    for each in profiles:
        _check(isinstance(each, str) and _NAME.match(each), f"invalid name {each!r}")
    labels = _typed(raw, "labels", dict, {})
    _labels(labels)
    _typed(raw, "active_instance_id", str, "")
    _typed(raw, "ports", list, [])
    return EndpointMeaning(
        state == "active",
        name,
        None if mac is None else mac.lower(),
        frozenset(each.partition("/")[0] for each in nets),
        tuple(dict.fromkeys(profiles)),
        frozenset(labels.items()),
    )


def _labels(labels: Mapping[str, object]) -> None:
    for key, value in labels.items():
        _check(_LABEL_KEY.match(key), f"invalid label {key!r}")
        _check(isinstance(value, str) and _LABEL_VALUE.match(value), f"invalid value {value!r}")


def profile_labels(text: str) -> frozenset[tuple[str, str]]:
    """The labels of a profile."""
    labels = _struct(text)
    _labels(labels)
    return frozenset(labels.items())


def tags(text: str) -> frozenset[str]:
    """The tags of a profile."""
    listed = _decode(text)
    _check(isinstance(listed, list), "cannot unmarshal into []string")
    for each in listed:
        _check(isinstance(each, str) and _NAME.match(each), f"invalid tag {each!r}")
    return frozenset(listed)


def rules(text: str) -> Rules:
    """The rules of a profile; fields that are not known are passed over."""
    raw = _struct(text)
    found = [
        tuple(_rule(each) for each in _typed(raw, direction, list, []))
        for direction in ("inbound_rules", "outbound_rules")
    ]
    return (found[0], found[1])


def _rule(raw: object) -> RuleMeaning:
    _check(isinstance(raw, dict), "cannot unmarshal into a rule")
    fields = dict(raw)
    action = _typed(fields, "action", str, "") or "allow"
    _check(action in ("allow", "deny", "log", "next-tier"), f"invalid action {action!r}")
    version = _typed(fields, "ip_version", int, None)
    _check(version in (None, 4, 6), "invalid ip_version")
    plain, negated = _conditions(fields, ""), _conditions(fields, "!")
    protocol = dict(plain).get("protocol")
    kinds = {key for each in (plain, negated) for key, _ in each}
    if kinds & {"src_ports", "dst_ports"}:
        _check(protocol in (6, 17), "ports need TCP or UDP")
    if kinds & {"icmp_type", "icmp_code"}:
        _check(protocol in (1, 58), "ICMP fields need ICMP")
    return RuleMeaning(action, plain, negated, version, _typed(fields, "log_prefix", str, ""))


def _conditions(fields: Mapping[str, Any], sign: str) -> Fields:
    found: set[tuple[str, object]] = set()
    protocol = fields.get(sign + "protocol")
    if protocol is not None:
        found.add(("protocol", _protocol(protocol)))
    for name in ("icmp_type", "icmp_code"):
        number = _typed(fields, sign + name, int, None)
        if number is not None:
            low = 1 if name == "icmp_type" else 0
            _check(low <= number <= 255, f"invalid {name}")
            found.add((name, number))
    for side in ("src", "dst"):
        tag = _typed(fields, f"{sign}{side}_tag", str, "")
        if tag:
            _check(_NAME.match(tag), f"invalid tag {tag!r}")
            found.add((f"{side}_tag", tag))
        selector = _typed(fields, f"{sign}{side}_selector", str, "")
        if selector:
            found.add((f"{side}_selector", selector))
        nets = [*_typed(fields, f"{sign}{side}_nets", list, [])]
        if fields.get(f"{sign}{side}_net") is not None:
            nets.append(fields[f"{sign}{side}_net"])
        if nets:
            read = frozenset(map(_cidr, nets))
            found.add((f"{side}_net", next(iter(read)) if len(read) == 1 else read))
        ports = _typed(fields, f"{sign}{side}_ports", list, [])
        if ports:
            found.add((f"{side}_ports", frozenset(map(_port, ports))))
    return frozenset(found)


def _protocol(value: object) -> int:
    if isinstance(value, str) and not value.isdecimal():
        _check(value in PROTOCOL_NUMBERS, f"invalid protocol {value!r}")
        return PROTOCOL_NUMBERS[value]
    _check(isinstance(value, str | int) and not isinstance(value, bool), "invalid protocol")
    number = int(str(value))
    _check(1 <= number <= 255, f"invalid protocol {number}")
    return number


def _port(value: object) -> tuple[int, int]:
    if isinstance(value, int):
        _check(0 <= value <= 65535, f"invalid port {value}")
        return (value, value)
    first, colon, last = str(value).partition(":")
    _check(first.isdecimal() and (not colon or last.isdecimal()), f"invalid port {value!r}")
    bounds = (int(first), int(last if colon else first))
    _check(0 <= bounds[0] <= bounds[1] <= 65535, f"invalid port range {value!r}")
    return bounds


def felix_allows(listed: Iterable[RuleMeaning], packet: PacketMeaning) -> bool:
    """What Felix 2.x's chain of the packet's family does."""
    for rule in listed:
        if rule.ip_version not in (None, packet.version) or _is_of_other_family(rule, packet):
            continue
        if all(_holds(each, packet) for each in rule.plain) and not any(
            _holds(each, packet) for each in rule.negated
        ):
            if rule.action in ("allow", "deny"):
                return rule.action == "allow"
            _check(rule.action == "log", "next-tier in a profile is best avoided")
    return False


def _is_of_other_family(rule: RuleMeaning, packet: PacketMeaning) -> bool:
    """A rule is left out where nothing is left of one of its fields."""
    return any(
        name.endswith("_net") and ipaddress.ip_network(str(net)).version != packet.version
        for fields in (rule.plain, rule.negated)
        for name, net in fields
    )


def _holds(condition: tuple[str, object], packet: PacketMeaning) -> bool:
    name, value = condition
    source = name.startswith("src")
    if name.endswith("_net"):
        address = packet.source if source else packet.destination
        return ipaddress.ip_address(address) in ipaddress.ip_network(str(value))
    if name.endswith("_tag"):
        return value in (packet.source_tags if source else packet.destination_tags)
    if name.endswith("_ports"):
        port = packet.source_port if source else packet.destination_port
        assert isinstance(value, frozenset)
        return port is not None and any(first <= port <= last for first, last in value)
    if name == "protocol":
        return packet.protocol == value
    if name == "icmp_type":
        return packet.icmp_type == value
    raise AssertionError(f"{name} is not modelled")


def policy_selector(text: str) -> str:
    """Whom a tiered policy selects."""
    return str(_typed(_struct(text), "selector", str, ""))


def pool(text: str) -> PoolMeaning:
    """A pool; a flag that is absent is false."""
    raw = _struct(text)
    _typed(raw, "ipip", str, "")
    _check(_typed(raw, "ipip_mode", str, "") in ("", "always", "cross-subnet"), "ipip_mode")
    return PoolMeaning(
        _cidr(raw.get("cidr")),
        _typed(raw, "masquerade", bool, False),
        _typed(raw, "ipam", bool, False),
        _typed(raw, "disabled", bool, False),
    )


def block(text: str) -> BlockMeaning:
    """A block."""
    raw = _struct(text)
    affinity = _typed(raw, "affinity", str, None)
    if affinity is not None:
        _check(affinity.startswith("host:"), "affinity")
    allocations = _typed(raw, "allocations", list, [])
    for each in (*allocations, *_typed(raw, "unallocated", list, [])):
        _check(each is None or (isinstance(each, int) and not isinstance(each, bool)), "ordinal")
    owners = []
    for each in _typed(raw, "attributes", list, []):
        secondary = _typed(each, "secondary", dict, {})
        for value in secondary.values():
            _check(isinstance(value, str), "cannot unmarshal into map[string]string")
        owners.append((_typed(each, "handle_id", str, None), frozenset(secondary.items())))
    return BlockMeaning(
        _cidr(raw.get("cidr")),
        None if affinity is None else affinity.removeprefix("host:"),
        _typed(raw, "strictAffinity", bool, False),
        tuple(None if each is None else owners[each] for each in allocations),
        tuple(_typed(raw, "unallocated", list, [])),
    )


def handle(key: str, text: str) -> tuple[str, Mapping[str, int]]:
    """A handle, which its key names, with its count of addresses by block."""
    counts = _typed(_struct(text), "block", dict, {})
    for cidr in counts:
        _cidr(cidr)
        _check(_typed(counts, cidr, int, 0) > 0, "count")
    return key.rpartition("/")[2], counts


def ipam_config(text: str) -> tuple[bool, bool]:
    """Whether blocks are claimed, and whether they are kept strictly."""
    raw = _struct(text)
    return (
        _typed(raw, "auto_allocate_blocks", bool, False),
        _typed(raw, "strict_affinity", bool, False),
    )


def endpoint_status(text: str) -> str:
    """An agent's word on one endpoint."""
    word = _typed(_struct(text), "status", str, "")
    _check(word in ("up", "down", "error"), f"invalid status {word!r}")
    return str(word)


def process_status(text: str) -> tuple[datetime, float, bool]:
    """When an agent last said that it is alive."""
    raw = _struct(text)
    time = _typed(raw, "time", str, "")
    _check(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z", time), f"invalid time {time!r}")
    uptime = raw.get("uptime")
    _check(isinstance(uptime, int | float) and not isinstance(uptime, bool), "uptime")
    return (
        datetime.fromisoformat(time),
        float(uptime or 0.0),
        _typed(raw, "first_update", bool, False),
    )


def nodes(keys: Mapping[str, str]) -> Mapping[str, str]:
    """`calicoctl get nodes`: every host with metadata, and its IPv4 address."""
    found = {}
    for key, value in keys.items():
        match = re.match(r"/calico/v1/host/([^/]+)/metadata\Z", key)
        if match is not None:
            _struct(value)
            found[match[1]] = keys.get(f"/calico/v1/host/{match[1]}/bird_ip", "")
    for address in found.values():
        _check(not address or ipaddress.ip_address(address).version == 4, "bird_ip")
    return found
