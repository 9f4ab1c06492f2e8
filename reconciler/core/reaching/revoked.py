"""Whose connections must be looked at, since what admitted them may be gone.

Reading the tracked connections takes time, so a change that only adds must not
lead to it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from netaddr import IPAddress

from calico.closing import selecting_policies
from calico.model import (
    Action,
    EndpointId,
    EndpointSpec,
    HostEndpointId,
    HostName,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    Tag,
)


@dataclass(frozen=True, slots=True)
class Revoked:
    """Addresses that lost something, seen from one host.

    `gone` have no holder any more, or another one: whatever goes on there
    belongs to nobody. `narrowed` may have lost a part of what admitted them.
    """

    gone: frozenset[IPAddress] = frozenset()
    narrowed: frozenset[IPAddress] = frozenset()


def revoked_addresses(previous: Snapshot, current: Snapshot, host: HostName) -> Revoked:
    """What was lost between two snapshots.

    Errs on the side of losing: whoever lost one of two groups is looked at.
    """
    if all(
        getattr(previous, part) is getattr(current, part)
        for part in ("specs", "profiles", "policies", "host_endpoints")
    ):
        return Revoked()
    changed = {
        name
        for name in previous.profiles.keys() | current.profiles.keys()
        if previous.profiles.get(name) != current.profiles.get(name)
    }
    lost = {
        name
        for name in changed
        if not _only_widened(previous.profiles.get(name), current.profiles.get(name))
    }
    shunned = cache(lambda: frozenset(_shunned_tags(current.profiles.values())))
    kept = {id(spec) for spec in current.specs.values()}
    gone: set[IPAddress] = set()
    narrowed: set[IPAddress] = set()
    for endpoint, before in previous.specs.items():
        if id(before) in kept and not changed.intersection(before.profiles):
            continue
        after = current.specs.get(endpoint)
        if after is None or not after.active:
            gone.update(before.addresses)
            continue
        gone.update(set(before.addresses) - set(after.addresses))
        had = _tags(before, previous.profiles)
        has = _tags(after, current.profiles)
        untagged = had - has or (has - had and (has - had) & shunned())
        if untagged or (
            _is_local(before.id, host)
            and (
                lost.intersection(after.profiles)
                or not _only_appended(before.profiles, after.profiles, current.profiles)
            )
        ):
            narrowed.update(before.addresses)
    narrowed.update(_newly_selected(previous, current, host))
    narrowed.update(_untagged_hosts(previous, current, shunned))
    return Revoked(frozenset(gone), frozenset(narrowed))


def passed_on(
    given_up: Iterable[IPAddress], previous: Snapshot, current: Snapshot
) -> frozenset[IPAddress]:
    """Addresses that somebody had between two snapshots who is in neither, or not in both.

    What such a holder began must not go on with the next one. One whose endpoint
    has the address in both was gone for no longer than between two looks.
    """
    passed = frozenset(given_up)
    if not passed:
        return passed
    had, has = (
        {(name, each) for name, spec in snapshot.specs.items() for each in spec.addresses}
        for snapshot in (previous, current)
    )
    return passed - {address for _, address in had & has}


def _newly_selected(previous: Snapshot, current: Snapshot, host: HostName) -> Iterator[IPAddress]:
    """Addresses that a tiered policy closes and did not close before."""
    if not current.policies:
        return
    before, after = (
        selecting_policies(
            (spec for spec in each.specs.values() if _is_local(spec.id, host)),
            each.profiles,
            each.policies,
        )
        for each in (previous, current)
    )
    for endpoint in after.keys() - before.keys():
        yield from current.specs[endpoint].addresses


def _untagged_hosts(
    previous: Snapshot, current: Snapshot, shunned: Callable[[], frozenset[Tag]]
) -> Iterator[IPAddress]:
    """Addresses of hosts themselves that lost a tag, or have one that takes something."""
    for endpoint in previous.host_endpoints.keys() | current.host_endpoints.keys():
        had, has = (_host_tags(endpoint, each) for each in (previous, current))
        if had - has or (has - had and (has - had) & shunned()):
            for each in (previous, current):
                if endpoint in each.host_endpoints:
                    yield from each.host_endpoints[endpoint].addresses


def _host_tags(endpoint: HostEndpointId, snapshot: Snapshot) -> frozenset[Tag]:
    found = snapshot.host_endpoints.get(endpoint)
    names = () if found is None else found.profiles
    return frozenset(
        tag for name in names if name in snapshot.profiles for tag in snapshot.profiles[name].tags
    )


def _is_local(endpoint: EndpointId, host: HostName) -> bool:
    return endpoint.host == host


def _tags(spec: EndpointSpec, profiles: Mapping[ProfileId, Profile]) -> frozenset[Tag]:
    if not spec.active:
        return frozenset()
    return frozenset(
        tag for name in spec.profiles if name in profiles for tag in profiles[name].tags
    )


def _shunned_tags(profiles: Iterable[Profile]) -> Iterator[Tag]:
    """Tags that take something from their members: denied, or excepted from an allow."""
    for profile in profiles:
        for rule in (*profile.inbound, *profile.outbound):
            matches = (rule.unless,) if rule.action is Action.ALLOW else (rule.match, rule.unless)
            for match in matches:
                yield from (tag for tag in (match.src_tag, match.dst_tag) if tag is not None)


def _only_widened(before: Profile | None, after: Profile | None) -> bool:
    """All rules stand in their order, and what was added between them only allows."""
    if before is None:
        return True
    if after is None or (after.problem and not before.problem):
        return False
    return _only_allows_added(before.inbound, after.inbound) and _only_allows_added(
        before.outbound, after.outbound
    )


def _only_allows_added(before: tuple[Rule, ...], after: tuple[Rule, ...]) -> bool:
    left = list(before)
    for rule in after:
        if left and rule == left[0]:
            left.pop(0)
        elif rule.action not in (Action.ALLOW, Action.LOG):
            return False
    return not left


def _only_appended(
    before: tuple[ProfileId, ...],
    after: tuple[ProfileId, ...],
    profiles: Mapping[ProfileId, Profile],
) -> bool:
    """All profiles stand in their order, and those added between them only allow."""
    left = list(before)
    for name in after:
        if left and name == left[0]:
            left.pop(0)
            continue
        profile = profiles.get(name)
        if profile is None or not _only_allows_added((), profile.inbound + profile.outbound):
            return False
    return not left
