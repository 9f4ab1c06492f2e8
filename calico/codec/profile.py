"""Profiles: rules and tags.

Reading never fails. What cannot be enforced to the letter - a field that is
not known, a selector, a jump to the next tier, a value out of range - makes
the whole rule set a `problem`, since a rule without one of its conditions
would allow more than its author meant.
"""

import re
from collections.abc import Mapping
from typing import Any

from netaddr import IPNetwork

from calico.codec.fields import (
    as_int,
    as_list,
    as_object,
    as_text,
    as_tuple,
    parse_json,
    render_json,
)
from calico.errors import InvalidValue
from calico.iptext import parse_network
from calico.model import PROTOCOLS, Action, Match, PortRange, Profile, ProfileId, Rule, Tag

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_WITH_PORTS = (6, 17)
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
_RULE_FIELDS = frozenset(
    ("action", "ip_version", "log_prefix", *_MATCH_FIELDS, *(f"!{each}" for each in _MATCH_FIELDS))
)
# Old pycalico repeats the profile's name inside.
_RULES_FIELDS = frozenset(("inbound_rules", "outbound_rules", "id"))
_TAG = re.compile(r"[a-zA-Z0-9_.-]+")
_NUMBER = re.compile(r"[0-9]{1,5}")
_NOT_IN_LOG_PREFIX = re.compile(r"[^a-zA-Z0-9_:-]")

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
    if problems:
        return Profile(profile, tags=tags, problem="; ".join(problems))
    return Profile(profile, tags=tags, inbound=rules[0], outbound=rules[1])


def decode_tags(text: str) -> tuple[Tag, ...]:
    """The `tags` leaf; raises InvalidValue."""
    return tuple(dict.fromkeys(as_tuple(parse_json(text), "tags", _tag)))


def _tag(value: object, name: str) -> Tag:
    text = as_text(value, name)
    if not _TAG.fullmatch(text):
        raise InvalidValue(f"{name}: {text!r} is not a tag")
    return Tag(text)


def decode_rules(text: str) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The `rules` leaf, inbound and outbound; raises InvalidValue."""
    raw = as_object(parse_json(text), "rules")
    _refuse_unknown(raw, _RULES_FIELDS)
    return (
        _rules(raw.get("inbound_rules", []), "inbound"),
        _rules(raw.get("outbound_rules", []), "outbound"),
    )


def _rules(value: object, direction: str) -> tuple[Rule, ...]:
    found = []
    for number, each in enumerate(as_list(value, f"{direction}_rules"), start=1):
        try:
            found.append(_rule(as_object(each, "it")))
        except InvalidValue as error:
            raise InvalidValue(f"{direction} rule {number}: {error}") from error
    return tuple(found)


def _refuse_unknown(raw: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(raw.keys() - known)
    if unknown:
        raise InvalidValue(f"field {unknown[0]!r} is not known")


def _rule(raw: Mapping[str, Any]) -> Rule:
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
    rule = Rule(
        action=action,
        match=_match(raw, ""),
        unless=_match(raw, "!"),
        ip_version=version,
        log_prefix=_log_prefix(raw),
    )
    _check_together(rule)
    return rule


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
        src_net=_net(found["src_net"], f"{sign}src_net") if "src_net" in found else None,
        dst_net=_net(found["dst_net"], f"{sign}dst_net") if "dst_net" in found else None,
        src_ports=_ports(found["src_ports"], f"{sign}src_ports") if "src_ports" in found else (),
        dst_ports=_ports(found["dst_ports"], f"{sign}dst_ports") if "dst_ports" in found else (),
        icmp_type=_icmp(found["icmp_type"], f"{sign}icmp_type") if "icmp_type" in found else None,
        icmp_code=_icmp(found["icmp_code"], f"{sign}icmp_code") if "icmp_code" in found else None,
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


def _icmp(value: object, name: str) -> int:
    number = as_int(value, name)
    # Felix cannot render 255 and drops everything in its place.
    if not 0 <= number <= 254:
        raise InvalidValue(f"{name} must be from 0 to 254, not {number}")
    return number


def _check_together(rule: Rule) -> None:
    """Refuse fields that only mean something beside another one."""
    protocol = rule.match.protocol
    for match in (rule.match, rule.unless):
        if (match.src_ports or match.dst_ports) and protocol not in _WITH_PORTS:
            raise InvalidValue("ports need protocol tcp or udp")
        if match.icmp_type is not None and protocol not in _ICMP:
            raise InvalidValue("icmp_type needs protocol icmp or icmpv6")
        if match.icmp_code is not None and match.icmp_type is None:
            raise InvalidValue("icmp_code needs icmp_type")
    nets = (rule.match.src_net, rule.match.dst_net, rule.unless.src_net, rule.unless.dst_net)
    versions: set[int] = {each.version for each in nets if each is not None}
    if rule.ip_version is not None:
        versions.add(rule.ip_version)
    if protocol in _ICMP:
        versions.add(_ICMP[protocol])
    if len(versions) > 1:
        raise InvalidValue("it asks for IPv4 and IPv6 at once")
