"""Profiles to nftables chains: Calico's rules, in Calico's order.

What cannot be enforced closes: a profile that is missing, malformed or asks
for something unknown becomes a drop at its place in the list.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import assert_never

from netaddr import IPNetwork

from calico.closing import ICMP, Direction, closing_reason, rules_of
from calico.dataplane.nft.expr import (
    COUNT,
    Statement,
    address,
    concat,
    dropping,
    family,
    goto,
    matches,
    meta,
    payload,
    port_conditions,
    rule,
    within,
)
from calico.dataplane.state import Chain, NftRule
from calico.model import Action, Match, PortRange, Profile, ProfileId, Rule, Tag

TO_TASK, ADMITTED = "to-task", "admitted"
LOG_PREFIX_LENGTH = 27
#: A task must not be able to fill the host's log.
_LOG_LIMIT: Statement = {"limit": {"rate": 10, "per": "second", "burst": 20}}

_SIDES = ("saddr", "daddr")


def chain_name(profiles: Sequence[ProfileId], direction: Direction) -> str:
    """The chain that all tasks with this list of profiles share."""
    digest = hashlib.sha256(json.dumps(profiles).encode()).hexdigest()[:16]
    return f"{_beginning(direction)}{digest}"


def is_policy_chain(name: str) -> bool:
    """Whether a chain of ours is that of a list of profiles."""
    return name.startswith(tuple(map(_beginning, Direction)))


def _beginning(direction: Direction) -> str:
    return f"{direction.value.removesuffix('bound')}-"


def tag_set_name(tag: Tag, version: int) -> str:
    """The set of one family's addresses that carry a tag."""
    return f"tag{version}-{hashlib.sha256(tag.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class ProfileChain:
    """One list of profiles in one direction, as rendered.

    `problems` has a sentence for the profile that closes the rest of the list.
    `tags` are those that the rules look up.
    """

    chain: Chain
    problems: tuple[str, ...]
    tags: frozenset[Tag]


def render_chain(
    listed: Sequence[ProfileId],
    profiles: Mapping[ProfileId, Profile],
    direction: Direction,
) -> ProfileChain:
    """The chain of one list of profiles; what no rule decides is dropped."""
    rendered: list[NftRule] = []
    problems: list[str] = []
    tags: set[Tag] = set()
    for name in listed:
        profile = profiles.get(name)
        problem = closing_reason(name, profile, direction)
        if profile is None or problem:
            problems.append(problem)
            break
        for each in rules_of(profile, direction):
            rendered.extend(render_rule(each, direction))
            tags.update(tags_of(each))
    rendered.append(dropping())
    chain = Chain(chain_name(listed, direction), tuple(rendered))
    return ProfileChain(chain, tuple(problems), frozenset(tags))


def tags_of(asked: Rule) -> frozenset[Tag]:
    """The tags that a rule looks up."""
    fields = (
        asked.match.src_tag,
        asked.match.dst_tag,
        asked.unless.src_tag,
        asked.unless.dst_tag,
    )
    return frozenset(tag for tag in fields if tag is not None)


def render_rule(asked: Rule, direction: Direction) -> tuple[NftRule, ...]:
    """One Calico rule as nftables rules that exclude each other.

    As a rule there is one, or one per family; ports in several wide ranges take
    one for each of them.
    """
    versions = families_of(asked)
    statements: list[Sequence[Statement]]
    if _needs_addresses(asked):
        statements = [list(_address_matches(asked, version)) for version in versions]
    elif versions == (4, 6):
        statements = [[]]
    else:
        statements = [[family(version)] for version in versions]
    return tuple(
        _conclude(asked, [*each, *transport], direction)
        for each in statements
        for transport in _transport_choices(asked)
    )


def families_of(asked: Rule) -> tuple[int, ...]:
    """The families in which a rule can decide.

    A net of one family must not open the other, so an allow stays in the family
    of its nets, plain or negated. A denial with a negated net holds for the
    other family too: no address of that is in the net.
    """
    versions = {4, 6}
    if asked.ip_version is not None:
        versions &= {asked.ip_version}
    for net in (asked.match.src_net, asked.match.dst_net):
        if net is not None:
            versions &= {net.version}
    for net in (asked.unless.src_net, asked.unless.dst_net):
        if net is None:
            continue
        if net.prefixlen == 0:
            versions -= {net.version}
        if asked.action is not Action.DENY:
            versions &= {net.version}
    if any(m.icmp_type is not None for m in (asked.match, asked.unless)):
        protocol = asked.match.protocol
        versions &= {ICMP[protocol][1]} if protocol in ICMP else set()
    return tuple(sorted(versions))


def _nets(fields: Match) -> tuple[IPNetwork | None, IPNetwork | None]:
    return (fields.src_net, fields.dst_net)


def _tags(fields: Match) -> tuple[Tag | None, Tag | None]:
    return (fields.src_tag, fields.dst_tag)


def _needs_addresses(asked: Rule) -> bool:
    return any(
        each is not None
        for fields in (asked.match, asked.unless)
        for each in (*_nets(fields), *_tags(fields))
    )


def _address_matches(asked: Rule, version: int) -> Iterator[Statement]:
    found = False
    for fields, negated in ((asked.match, False), (asked.unless, True)):
        for side, net in zip(_SIDES, _nets(fields), strict=True):
            # All of a family is said by the family; nftables has no empty mask.
            if net is not None and net.version == version and net.prefixlen > 0:
                yield matches(address(version, side), within(net), negated=negated)
                found = True
        for side, tag in zip(_SIDES, _tags(fields), strict=True):
            if tag is not None:
                name = f"@{tag_set_name(tag, version)}"
                yield matches(address(version, side), name, negated=negated)
                found = True
    if not found:
        # Left without an address to look at, it would hold in the other family too.
        yield family(version)


def _transport_choices(asked: Rule) -> Iterator[list[Statement]]:
    """What is asked of protocol, ports and ICMP; any of the choices may hold."""
    protocols = [
        matches(meta("l4proto"), fields.protocol, negated=negated)
        for fields, negated in ((asked.match, False), (asked.unless, True))
        if fields.protocol is not None
    ]
    protocol = asked.match.protocol
    others = [
        *_icmp_matches(protocol, asked.match, negated=False),
        *_port_exceptions("sport", asked.unless.src_ports),
        *_port_exceptions("dport", asked.unless.dst_ports),
        *_icmp_matches(protocol, asked.unless, negated=True),
    ]
    sources = _port_choices("sport", asked.match.src_ports)
    for source, target in product(sources, _port_choices("dport", asked.match.dst_ports)):
        yield [*protocols, *source, *target, *others]


def _port_choices(name: str, ranges: tuple[PortRange, ...]) -> Sequence[Sequence[Statement]]:
    if not ranges:
        return [[]]
    return [[matches(payload("th", name), each)] for each in port_conditions(ranges)]


def _port_exceptions(name: str, ranges: tuple[PortRange, ...]) -> Iterator[Statement]:
    for each in port_conditions(ranges):
        yield matches(payload("th", name), each, negated=True)


def _icmp_matches(protocol: int | None, fields: Match, *, negated: bool) -> Iterator[Statement]:
    if protocol is None or fields.icmp_type is None:
        return
    header = ICMP[protocol][0]
    if fields.icmp_code is None:
        yield matches(payload(header, "type"), fields.icmp_type, negated=negated)
        return
    # The pair is matched as one, so that its negation is that of the pair.
    pair = concat(payload(header, "type"), payload(header, "code"))
    wanted = {"set": [{"concat": [fields.icmp_type, fields.icmp_code]}]}
    yield matches(pair, wanted, negated=negated)


def _conclude(asked: Rule, statements: Sequence[Statement], direction: Direction) -> NftRule:
    match asked.action:
        case Action.ALLOW:
            verdict = goto(ADMITTED if direction is Direction.INBOUND else TO_TASK)
            # Only what begins comes here, so counting costs a connection, not a packet.
            return rule(*statements, COUNT, verdict)
        case Action.DENY | Action.NEXT_TIER:
            return dropping(*statements)
        case Action.LOG:
            prefix = log_prefix(asked.log_prefix)
            return rule(*statements, _LOG_LIMIT, {"log": {"prefix": prefix}})
        case _:
            assert_never(asked.action)


def log_prefix(text: str) -> str:
    """A prefix without surprises, in Calico's own alphabet and length."""
    return re.sub(r"[^a-zA-Z0-9_:-]", "_", text or "calico-packet")[:LOG_PREFIX_LENGTH] + ": "
