"""Calico's Python family as a reader: Felix 1.4. Its tools are in `pycalico`.

Made from what is known of their sources, for tests alone: nothing of ours is
imported, so that an error of ours is not repeated here.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.unit.families.meaning import (
    PROTOCOL_NUMBERS,
    EndpointMeaning,
    Fields,
    PacketMeaning,
    PoolMeaning,
    RefusedError,
    RuleMeaning,
    Rules,
)

_ID = re.compile(r"[a-zA-Z0-9_.-]+\Z")
_POOL_ID = re.compile(r"[0-9.:a-fA-F-]{1,43}\Z")
_INTERFACE = re.compile(r"[a-zA-Z0-9_-]{1,15}\Z")
_LABEL_KEY = re.compile(r"[a-zA-Z0-9_./-]+\Z")
_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\Z")
_MATCHES = ("tag", "net", "selector", "ports")
RULE_FIELDS = {
    "protocol",
    "icmp_type",
    "icmp_code",
    *(f"{side}_{each}" for side in ("src", "dst") for each in _MATCHES),
}
_FELIX_RULE = {
    "action",
    "ip_version",
    "log_prefix",
    *RULE_FIELDS,
    *(f"!{each}" for each in RULE_FIELDS),
}


def check(condition: object, why: str) -> None:
    """Refuse what does not hold."""
    if not condition:
        raise RefusedError(why)


def read_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RefusedError("no JSON") from error
    check(isinstance(value, dict), "no object")
    return dict(value)


def read_network(value: object, version: int | None = None) -> str:
    """A network, in its plainest form."""
    try:
        found = ipaddress.ip_network(str(value), strict=False)
    except ValueError as error:
        raise RefusedError(f"{value!r} is no network") from error
    check(isinstance(value, str) and version in (None, found.version), f"{value!r}: family")
    return str(found)


def _address(value: object, version: int) -> str:
    try:
        found = ipaddress.ip_address(str(value))
    except ValueError as error:
        raise RefusedError(f"{value!r} is no address") from error
    check(isinstance(value, str) and found.version == version, f"{value!r}: family")
    return str(found)


# -- Felix 1.4: an object that does not pass is taken for absent --


def felix_ready(value: str | None) -> bool:
    """Whether Felix goes on from its wait."""
    return value == "true"


def felix_endpoint(text: str, prefixes: str = "cali") -> EndpointMeaning:
    """A workload's endpoint on a host of ours; `prefixes` as InterfacePrefix has them."""
    raw = read_object(text)
    check(raw.get("state") in ("active", "inactive"), "state")
    name = raw.get("name")
    check(isinstance(name, str) and _INTERFACE.match(name), "name")
    check(any(str(name).startswith(each) for each in prefixes.split(",")), "interface prefix")
    if "mac" in raw:
        check(isinstance(raw["mac"], str) and _MAC.match(raw["mac"]), "mac")
    profiles = raw.get("profile_ids")
    if profiles is None:
        profiles = [raw["profile_id"]] if "profile_id" in raw else []
    for each in profiles:
        check(isinstance(each, str) and _ID.match(each), "profile id")
    addresses = []
    for version in (4, 6):
        nets = raw.get(f"ipv{version}_nets", [])
        check(isinstance(nets, list), "nets")
        addresses += [read_network(each, version).partition("/")[0] for each in nets]
        if f"ipv{version}_gateway" in raw:
            _address(raw[f"ipv{version}_gateway"], version)
        width = 32 if version == 4 else 128
        for each in raw.get(f"ipv{version}_nat", []):
            check(f"{each['int_ip']}/{width}" in nets, "nat without its net")
        check(f"expected_ipv{version}_addrs" not in raw, "expected addresses")
    labels = raw.get("labels", {})
    _felix_labels(labels)
    return EndpointMeaning(
        raw["state"] == "active",
        str(name),
        raw["mac"].lower() if "mac" in raw else None,
        frozenset(addresses),
        tuple(dict.fromkeys(profiles)),
        frozenset(labels.items()),
    )


def felix_labels(text: str) -> frozenset[tuple[str, str]]:
    """The labels of a profile."""
    labels = read_object(text)
    _felix_labels(labels)
    return frozenset(labels.items())


def _felix_labels(labels: object) -> None:
    check(isinstance(labels, dict), "labels")
    for key, value in dict(labels).items():
        check(isinstance(value, str) and _LABEL_KEY.match(key), "label")


def felix_endpoint_id(segment: str) -> str:
    """The last part of an endpoint's key; an escaped one does not pass."""
    check(_ID.match(segment), "endpoint id")
    return segment


def felix_profile_id(segment: str) -> str:
    """The part of a profile's key that names it."""
    check(_ID.match(segment), "profile id")
    return segment


def felix_tags(text: str) -> frozenset[str]:
    """The tags of a profile."""
    try:
        tags = json.loads(text)
    except ValueError as error:
        raise RefusedError("no JSON") from error
    check(isinstance(tags, list), "tags")
    for each in tags:
        check(isinstance(each, str) and _ID.match(each), "tag")
    return frozenset(tags)


def felix_rules(text: str) -> Rules:
    """The rules of a profile; one bad rule takes the whole object with it."""
    raw = read_object(text)
    found = []
    for direction in ("inbound_rules", "outbound_rules"):
        listed = raw.get(direction, [])
        check(isinstance(listed, list), direction)
        found.append(tuple(read_rule(each) for each in listed))
    return (found[0], found[1])


def read_rule(given: object) -> RuleMeaning:
    """One rule, with every check on it."""
    check(isinstance(given, dict), "rule")
    # A field that is null is dropped.
    raw = {key: each for key, each in dict(given).items() if each is not None}
    check(raw.keys() <= _FELIX_RULE, f"unknown keys {raw.keys() - _FELIX_RULE}")
    action = raw.get("action", "allow")
    check(action in ("allow", "deny", "next-tier", "log"), "action")
    version = raw.get("ip_version")
    check(version in (None, 4, 6), "ip_version")
    plain, negated = _felix_conditions(raw, ""), _felix_conditions(raw, "!")
    protocol = dict(plain).get("protocol")
    kinds = {key for fields in (plain, negated) for key, _ in fields}
    if kinds & {"src_ports", "dst_ports"}:
        check(protocol in (6, 17, 132, 136), "ports need a protocol")
    if kinds & {"icmp_type", "icmp_code"}:
        check(protocol in (1, 58), "ICMP needs its protocol")
    for fields in (plain, negated):
        names = {key for key, _ in fields}
        check("icmp_code" not in names or "icmp_type" in names, "code needs type")
    prefix = re.sub(r"[^a-zA-Z0-9_:-]", "_", str(raw.get("log_prefix", "")))[:27]
    return RuleMeaning(action, plain, negated, version, prefix)


def _felix_conditions(raw: Mapping[str, Any], sign: str) -> Fields:
    found: set[tuple[str, object]] = set()
    for name in RULE_FIELDS:
        value = raw.get(sign + name)
        if value is None:
            continue
        if name == "protocol":
            found.add((name, _protocol(value)))
        elif name.endswith("_net"):
            found.add((name, read_network(value)))
        elif name.endswith("_tag"):
            check(isinstance(value, str) and _ID.match(value), "tag")
            found.add((name, value))
        elif name.endswith("_ports"):
            check(isinstance(value, list), "ports")
            found.add((name, frozenset(map(_ports, value))))
        elif name.startswith("icmp"):
            check(isinstance(value, int) and 0 <= value <= 255, "ICMP")
            found.add((name, value))
        else:
            check(isinstance(value, str), "selector")
            found.add((name, value))
    return frozenset(found)


def _protocol(value: object) -> int:
    if isinstance(value, str) and value in PROTOCOL_NUMBERS:
        return PROTOCOL_NUMBERS[value]
    check(re.match(r"[0-9]+\Z", str(value)) and 1 <= int(str(value)) <= 255, "protocol")
    return int(str(value))


def _ports(value: object) -> tuple[int, int]:
    first, colon, last = str(value).partition(":")
    check(first.isdecimal() and (not colon or last.isdecimal()), "port")
    bounds = (int(first), int(last if colon else first))
    check(0 <= bounds[0] <= bounds[1] <= 65535, "port range")
    return bounds


def felix_pool(key: str, text: str) -> PoolMeaning:
    """A pool: only its range and its masquerade are looked at, and only in IPv4."""
    check(_POOL_ID.match(key.rpartition("/")[2]), "pool id")
    raw = read_object(text)
    masquerade = raw.get("masquerade", False)
    check(isinstance(masquerade, bool), "masquerade")
    return PoolMeaning(read_network(raw.get("cidr")), masquerade, ipam=True, disabled=False)


def felix_host_endpoint(text: str) -> frozenset[str]:
    """The addresses that a host's own interface adds to its tags."""
    raw = read_object(text)
    for each in ("state", "mac", "ipv4_nets", "ipv6_nets"):
        check(each not in raw, each)
    found = {
        _address(each, version)
        for version in (4, 6)
        for each in raw.get(f"expected_ipv{version}_addrs", [])
    }
    check(raw.get("name") or found, "neither name nor address")
    return frozenset(found)


def felix_status(text: str) -> str:
    """The one field of an endpoint's report that the plugins read."""
    word = read_object(text)["status"]
    check(word in ("up", "down", "error"), "status")
    return str(word)


def felix_allows(rules: Iterable[RuleMeaning], packet: PacketMeaning) -> bool:
    """What Felix 1.4's chain of the packet's family does, its defects included."""
    for rule in rules:
        if rule.ip_version not in (None, packet.version):
            continue
        if _replaced_by_drop(rule, packet.version):
            return False
        if all(_holds(each, packet) for each in rule.plain) and not any(
            _holds(each, packet) for each in rule.negated if _of_family(each, packet.version)
        ):
            if rule.action in ("allow", "deny"):
                return rule.action == "allow"
            check(rule.action == "log", "next-tier in a profile is best avoided")
    return False


def _replaced_by_drop(rule: RuleMeaning, version: int) -> bool:
    """A rule that cannot be rendered is a drop of everything in its place."""
    fields = dict(rule.plain) | dict(rule.negated)
    protocol = dict(rule.plain).get("protocol")
    if "icmp_type" in fields:
        return protocol != (1 if version == 4 else 58) or fields["icmp_type"] == 255
    return any(name.endswith("_ports") for name in fields) and protocol not in (6, 17)


def _of_family(condition: tuple[str, object], version: int) -> bool:
    name, value = condition
    return not name.endswith("_net") or ipaddress.ip_network(str(value)).version == version


def _holds(condition: tuple[str, object], packet: PacketMeaning) -> bool:
    name, value = condition
    side = name.startswith("src")
    match name.rpartition("_")[2]:
        case "net":
            net = ipaddress.ip_network(str(value))
            address = ipaddress.ip_address(packet.source if side else packet.destination)
            # Left out in the chain of the other family.
            return net.version != packet.version or address in net
        case "tag":
            return value in (packet.source_tags if side else packet.destination_tags)
        case "ports":
            port = packet.source_port if side else packet.destination_port
            assert isinstance(value, frozenset)
            return port is not None and any(first <= port <= last for first, last in value)
        case "protocol":
            return packet.protocol == value
        case "type":
            return packet.icmp_type == value
    raise AssertionError(f"{name} is not modelled")
