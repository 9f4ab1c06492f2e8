"""What no host enforces: it closes its place in a profile, or whom a policy selects.

One answer for whoever asks: the rendered chains, `why`, and the judging of
connections that are under way.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import assert_never

from calico.model import (
    Action,
    EndpointId,
    EndpointSpec,
    Policy,
    PolicyId,
    Profile,
    ProfileId,
    Rule,
)
from calico.selector import selects

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


def selecting_policies(
    specs: Iterable[EndpointSpec],
    profiles: Mapping[ProfileId, Profile],
    policies: Mapping[PolicyId, Policy],
) -> Mapping[EndpointId, tuple[PolicyId, ...]]:
    """The tiered policies that select an endpoint; others are not in the answer.

    Tiers come before profiles and end in a drop, but are not enforced here. So
    whoever one selects is closed, whatever the policy's rules say.
    """
    if not policies:
        return {}
    names = sorted(policies)
    known: dict[tuple[tuple[str, str], ...], tuple[PolicyId, ...]] = {}
    found = {}
    for spec in specs:
        labels = labels_of(spec, profiles)
        key = tuple(sorted(labels.items()))
        if key not in known:
            known[key] = tuple(each for each in names if selects(policies[each].selector, labels))
        if known[key]:
            found[spec.id] = known[key]
    return found


def labels_of(spec: EndpointSpec, profiles: Mapping[ProfileId, Profile]) -> Mapping[str, str]:
    """What selectors see: an endpoint's own labels, then those of its profiles in order."""
    labels: dict[str, str] = {}
    for name in reversed(spec.profiles):
        if name in profiles:
            labels.update(profiles[name].labels)
    labels.update(spec.labels)
    return labels


def policy_reason(policies: Iterable[PolicyId]) -> str:
    """Why an endpoint that these select is closed."""
    names = ", ".join(map(str, policies))
    return f"tiered policy {names} selects it, and tiered policies are not enforced here"
