"""The ip rules by which marked packets, and the host's own, see our table.

A rule is ours when it has one of our preferences, our protocol and our table;
others may share the preference.
"""

from collections.abc import Callable, Iterable
from errno import EEXIST, ENOENT

from calico.dataplane import host_messages as messages
from calico.dataplane import sysctl
from calico.dataplane.netlink import NetlinkSocket
from calico.dataplane.netlink_wire import Request
from calico.dataplane.state import RULE_PREFERENCES, MarkRule
from calico.errors import DataplaneError


def observe(kernel: NetlinkSocket) -> frozenset[MarkRule]:
    """Our rules of both families; raises DataplaneError."""
    versions: Iterable[int] = (4, 6) if sysctl.has_ipv6() else (4,)
    found = (
        messages.parse_rule(reply.body)
        for version in versions
        for reply in kernel.dump(messages.dump_rules(version))
        if reply.kind == messages.RTM_NEWRULE
    )
    return frozenset(rule for rule in found if rule is not None)


def add(kernel: NetlinkSocket, rule: MarkRule) -> None:
    """Add one rule; raises DataplaneError."""
    _change(kernel, messages.add_rule, rule, EEXIST)


def remove(kernel: NetlinkSocket, rule: MarkRule) -> None:
    """Remove one rule; raises DataplaneError."""
    _change(kernel, messages.remove_rule, rule, ENOENT)


def _change(
    kernel: NetlinkSocket, request: Callable[[MarkRule], Request], rule: MarkRule, accepted: int
) -> None:
    if rule.preference not in RULE_PREFERENCES:
        raise DataplaneError(f"ip rule {rule.preference} is not ours")
    (refusal,) = kernel.transact([request(rule)])
    if refusal is not None and refusal.code != accepted:
        raise DataplaneError(refusal.reason)
