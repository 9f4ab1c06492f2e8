"""What in a profile no host enforces; it closes its place in the list.

One answer for whoever asks: the rendered chains, `why`, and the judging of
connections that are under way.
"""

import enum
from typing import assert_never

from calico.model import Action, Profile, ProfileId, Rule

PORT_PROTOCOLS = frozenset({6, 17, 33, 132, 136})
#: nftables' name of the header and the address family, by protocol.
ICMP = {1: ("icmp", 4), 58: ("icmpv6", 6)}


class Direction(enum.Enum):
    """Seen from the task: to it, or from it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


def rules_of(profile: Profile, direction: Direction) -> tuple[Rule, ...]:
    """The profile's rules for one direction."""
    match direction:
        case Direction.INBOUND:
            return profile.inbound
        case Direction.OUTBOUND:
            return profile.outbound
        case _:
            assert_never(direction)


def closing_reason(name: ProfileId, profile: Profile | None, direction: Direction) -> str:
    """Why a profile closes its place in a direction; empty if it does not."""
    if profile is None:
        return f"profile {name} does not exist"
    if profile.problem:
        return f"profile {name}: {profile.problem}"
    for number, each in enumerate(rules_of(profile, direction), start=1):
        reason = _unenforceable(each)
        if reason:
            return f"profile {name}: {direction.value} rule {number} {reason}"
    return ""


def _unenforceable(asked: Rule) -> str:
    both = (asked.match, asked.unless)
    if asked.action is Action.NEXT_TIER:
        return "goes to the next tier, and there are no tiers"
    if any(m.src_selector is not None or m.dst_selector is not None for m in both):
        return "has a selector, which is not enforced"
    ports = any(m.src_ports or m.dst_ports for m in both)
    if ports and asked.match.protocol not in PORT_PROTOCOLS:
        return "has ports without a protocol that has ports"
    if any(m.icmp_type is not None or m.icmp_code is not None for m in both):
        if asked.match.protocol not in ICMP:
            return "has an ICMP type without the protocol icmp or icmpv6"
        if any(m.icmp_type is None and m.icmp_code is not None for m in both):
            return "has an ICMP code without an ICMP type"
    return ""
