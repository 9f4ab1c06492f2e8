"""Profiles: rules, tags and labels.

Reading never fails. What cannot be enforced to the letter - a field that is
not known, a selector, a jump to the next tier, a value out of range - makes
the whole rule set a `problem`, since a rule without one of its conditions
would allow more than its author meant.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

from netaddr import IPNetwork

from calico.codec.fields import (
    as_int,
    as_list,
    as_object,
    as_text,
    as_text_pairs,
    as_tuple,
    parse_json,
    render_json,
)
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import PROTOCOLS, Action, Match, PortRange, Profile, ProfileId, Rule, Tag

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_WITH_PORTS = (6, 17, 132, 136)
_ICMP = {1: 4, 58: 6}
_MATCH_FIELDS = (
    "protocol",
    "src_tag",
    "dst_tag",
    "src_net",
    "dst_net",
    "src_ports",
    "dst_ports",
    "icmp_type",
    "icmp_code",
    "src_selector",
    "dst_selector",
)
#: Lists of networks, which Go wrote in its last year beside the single ones.
_NET_LISTS = ("src_nets", "dst_nets")
_PLAIN_FIELDS = (*_MATCH_FIELDS, *_NET_LISTS)
_RULE_FIELDS = frozenset(
    ("action", "ip_version", "log_prefix", *_PLAIN_FIELDS, *(f"!{each}" for each in _PLAIN_FIELDS))
)
# Old pycalico repeats the profile's name inside.
_RULES_FIELDS = frozenset(("inbound_rules", "outbound_rules", "id"))
_TAG = re.compile(r"[a-zA-Z0-9_.-]+")
_NUMBER = re.compile(r"[0-9]{1,5}")
_NOT_IN_LOG_PREFIX = re.compile(r"[^a-zA-Z0-9_:-]")

#: Apps of one group have the same rules, and each complete list brings all of them again.
_REMEMBERED_RULES = 1024
#: The labels leaf of every profile that we create.
NO_LABELS = "{}"


def encode_tags(profile: Profile) -> str:
    """The `tags` leaf."""
    return render_json(list(profile.tags))


def encode_rules(profile: Profile) -> str:
    """The `rules` leaf."""
    return render_json(
        {
            "inbound_rules": [_rule_fields(each) for each in profile.inbound],
            "outbound_rules": [_rule_fields(each) for each in profile.outbound],
        }
    )


def _rule_fields(rule: Rule) -> dict[str, object]:
    fields: dict[str, object] = {"action": rule.action.value}
    if rule.ip_version is not None:
        fields["ip_version"] = rule.ip_version
    if rule.log_prefix:
        fields["log_prefix"] = rule.log_prefix
    fields.update(_match_fields(rule.match))
    fields.update((f"!{name}", value) for name, value in _match_fields(rule.unless).items())
    return fields


def _match_fields(match: Match) -> dict[str, object]:
    fields = {
        "protocol": _PROTOCOL_NAMES.get(match.protocol or 0, match.protocol),
        "src_tag": match.src_tag,
        "dst_tag": match.dst_tag,
        "src_net": None if match.src_net is None else str(match.src_net),
        "dst_net": None if match.dst_net is None else str(match.dst_net),
        "src_ports": _port_values(match.src_ports) or None,
        "dst_ports": _port_values(match.dst_ports) or None,
        "icmp_type": match.icmp_type,
        "icmp_code": match.icmp_code,
        "src_selector": match.src_selector,
        "dst_selector": match.dst_selector,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _port_values(ports: tuple[PortRange, ...]) -> list[int | str]:
    return [
        each.first if each.first == each.last else f"{each.first}:{each.last}" for each in ports
    ]


def decode_profile(profile: ProfileId, leaves: Mapping[str, str]) -> Profile:
    """The profile that its leaves make; without rules it closes."""
    problems = []
    tags: tuple[Tag, ...] = ()
    rules: tuple[tuple[Rule, ...], tuple[Rule, ...]] = ((), ())
    if "tags" in leaves:
        try:
            tags = decode_tags(leaves["tags"])
        except InvalidValue as error:
            problems.append(f"tags: {error}")
    if "rules" in leaves:
        try:
            rules = decode_rules(leaves["rules"])
        except InvalidValue as error:
            problems.append(f"rules: {error}")
    else:
        problems.append("it has no rules")
    labels: tuple[tuple[str, str], ...] = ()
    if leaves.get("labels", NO_LABELS) != NO_LABELS:
        # Labels open nothing: as for Felix, bad ones are none.
        with suppress(InvalidValue):
            labels = decode_labels(leaves["labels"])
    if problems:
        return Profile(profile, tags=tags, problem="; ".join(problems), labels=labels)
    return Profile(profile, tags=tags, inbound=rules[0], outbound=rules[1], labels=labels)


def decode_labels(text: str) -> tuple[tuple[str, str], ...]:
    """The `labels` leaf; raises InvalidValue. Go writes null for none."""
    return as_text_pairs(_or_empty(parse_json(text), {}), "labels")


def decode_tags(text: str) -> tuple[Tag, ...]:
    """The `tags` leaf; raises InvalidValue. Go writes null for none."""
    return tuple(dict.fromkeys(as_tuple(_or_empty(parse_json(text), []), "tags", _tag)))


def _or_empty(value: object, empty: object) -> object:
    return empty if value is None else value


def _tag(value: object, name: str) -> Tag:
    text = as_text(value, name)
    if not _TAG.fullmatch(text):
        raise InvalidValue(f"{name}: {text!r} is not a tag")
    return Tag(text)


@lru_cache(maxsize=_REMEMBERED_RULES)
def decode_rules(text: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The `rules` leaf, inbound and outbound; raises InvalidValue."""
    raw = as_object(parse_json(text), "rules")
    _refuse_unknown(raw, _RULES_FIELDS)
    return (
        _rules(raw.get("inbound_rules", []), "inbound"),
        _rules(raw.get("outbound_rules", []), "outbound"),
    )


def _rules(value: object, direction: str) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for number, each in enumerate(as_list(value, f"{direction}_rules"), start=1):
        try:
            found.extend(_rules_of_one(as_object(each, "it")))
        except InvalidValue as error:
            raise InvalidValue(f"{direction} rule {number}: {error}") from error
    return tuple(found)


def _refuse_unknown(raw: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(raw.keys() - known)
    if unknown:
        raise InvalidValue(f"field {unknown[0]!r} is not known")


def _rules_of_one(raw: Mapping[str, Any]) -> tuple[Rule, ...]:
    """A rule with lists of networks is as many rules with one network each."""
    _refuse_unknown(raw, _RULE_FIELDS)
    word = as_text(raw.get("action", "allow"), "action")
    try:
        action = Action(word)
    except ValueError as error:
        raise InvalidValue(f"action {word!r} is not known") from error
    if action is Action.NEXT_TIER:
        raise InvalidValue("action 'next-tier' is not enforced here")
    version = None
    if "ip_version" in raw:
        version = as_int(raw["ip_version"], "ip_version")
        if version not in (4, 6):
            raise InvalidValue(f"ip_version must be 4 or 6, not {version}")
    plain = _match(raw, "")
    unless = _match(raw, "!")
    both = product(_nets(raw, "src"), _nets(raw, "dst"))
    rules = [
        Rule(
            action=action,
            match=replace(plain, src_net=src, dst_net=dst),
            unless=unless,
            ip_version=version,
            log_prefix=_log_prefix(raw),
        )
        for src, dst in both
    ]
    # Of a list, the networks of the other family than the rest asks for match nothing.
    possible = tuple(rule for rule in rules if len(_versions(rule, rule.match)) < 2)
    for rule in possible:
        _check_together(rule)
    if not possible:
        raise InvalidValue("it asks for IPv4 and IPv6 at once")
    return possible


def _log_prefix(raw: Mapping[str, Any]) -> str:
    text = as_text(raw.get("log_prefix", ""), "log_prefix")
    return _NOT_IN_LOG_PREFIX.sub("_", text)[:27]


def _match(raw: Mapping[str, Any], sign: str) -> Match:
    found = {name: raw[sign + name] for name in _MATCH_FIELDS if sign + name in raw}
    for name in ("src_selector", "dst_selector"):
        if name in found:
            raise InvalidValue(f"{sign}{name} is not enforced here: selectors are not supported")
    return Match(
        protocol=_protocol(found["protocol"], sign) if "protocol" in found else None,
        src_tag=_tag(found["src_tag"], f"{sign}src_tag") if "src_tag" in found else None,
        dst_tag=_tag(found["dst_tag"], f"{sign}dst_tag") if "dst_tag" in found else None,
        src_net=_only_net(raw, f"{sign}src") if sign else None,
        dst_net=_only_net(raw, f"{sign}dst") if sign else None,
        src_ports=_ports(found["src_ports"], f"{sign}src_ports") if "src_ports" in found else (),
        dst_ports=_ports(found["dst_ports"], f"{sign}dst_ports") if "dst_ports" in found else (),
        # Felix cannot render type 255 and drops everything in its place.
        icmp_type=_icmp(raw, f"{sign}icmp_type", 254) if "icmp_type" in found else None,
        icmp_code=_icmp(raw, f"{sign}icmp_code", 255) if "icmp_code" in found else None,
    )


def _protocol(value: object, sign: str) -> int:
    name = f"{sign}protocol"
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        if value not in PROTOCOLS:
            raise InvalidValue(f"{name} {value!r} is not known")
        return PROTOCOLS[value]
    number = int(value) if isinstance(value, str) else as_int(value, name)
    if not 1 <= number <= 255:
        raise InvalidValue(f"{name} must be from 1 to 255, not {number}")
    return number


def _nets(raw: Mapping[str, Any], side: str) -> tuple[IPNetwork | None, ...]:
    """The networks of one side, any of which may hold; one None asks for nothing."""
    found: list[IPNetwork | None] = []
    if f"{side}_net" in raw:
        found.append(_net(raw[f"{side}_net"], f"{side}_net"))
    if f"{side}_nets" in raw:
        listed = as_tuple(raw[f"{side}_nets"], f"{side}_nets", _net)
        if not listed:
            raise InvalidValue(f"{side}_nets must name a network")
        found.extend(listed)
    return tuple(dict.fromkeys(found)) or (None,)


def _only_net(raw: Mapping[str, Any], side: str) -> IPNetwork | None:
    """The one network that a side must not be in: out of several is not enforced."""
    found = _nets(raw, side)
    if len(found) > 1:
        raise InvalidValue(f"{side}_nets with more than one network is not enforced here")
    return found[0]


def _net(value: object, name: str) -> IPNetwork:
    return parse_network(as_text(value, name))


def _ports(value: object, name: str) -> tuple[PortRange, ...]:
    found = as_tuple(value, name, _port_range)
    if not found:
        raise InvalidValue(f"{name} must name a port")
    return found


def _port_range(value: object, name: str) -> PortRange:
    if isinstance(value, str):
        first, colon, last = value.partition(":")
        bounds = (first, last if colon else first)
        if not all(map(_NUMBER.fullmatch, bounds)):
            raise InvalidValue(f"{name}: {value!r} is not a port or a range of ports")
        found = PortRange(int(bounds[0]), int(bounds[1]))
    else:
        number = as_int(value, name)
        found = PortRange(number, number)
    if not 0 <= found.first <= found.last <= 65535:
        raise InvalidValue(f"{name}: {value!r} is not a port or a range of ports")
    return found


def _icmp(raw: Mapping[str, Any], name: str, most: int) -> int:
    number = as_int(raw[name], name)
    if not 0 <= number <= most:
        raise InvalidValue(f"{name} must be from 0 to {most}, not {number}")
    return number


def _check_together(rule: Rule) -> None:
    """Refuse fields that only mean something beside another one."""
    protocol = rule.match.protocol
    for match in (rule.match, rule.unless):
        if (match.src_ports or match.dst_ports) and protocol not in _WITH_PORTS:
            raise InvalidValue("ports need a protocol that has ports, such as tcp or udp")
        if match.icmp_type is not None and protocol not in _ICMP:
            raise InvalidValue("icmp_type needs protocol icmp or icmpv6")
        if match.icmp_code is not None and match.icmp_type is None:
            raise InvalidValue("icmp_code needs icmp_type")
    if len(_versions(rule, rule.match, rule.unless)) > 1:
        raise InvalidValue("it asks for IPv4 and IPv6 at once")


def _versions(rule: Rule, *fields: Match) -> set[int]:
    """The families that a rule names."""
    nets = (net for each in fields for net in (each.src_net, each.dst_net))
    versions: set[int] = {net.version for net in nets if net is not None}
    if rule.ip_version is not None:
        versions.add(rule.ip_version)
    if rule.match.protocol in _ICMP:
        versions.add(_ICMP[rule.match.protocol])
    return versions
