"""The ip rules by which marked packets, and the host's own, see our table.

A rule is ours when it has one of our preferences, our protocol and our table;
others may share the preference.
"""

import socket
from errno import EEXIST, ENOENT

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from calico.dataplane import sysctl
from calico.dataplane.state import ROUTE_PROTOCOL, ROUTE_TABLE, RULE_PREFERENCES, MarkRule
from calico.errors import DataplaneError

OWN_PACKETS = "lo"


def observe(kernel: IPRoute) -> frozenset[MarkRule]:
    """Our rules of both families."""
    versions = (4, 6) if sysctl.has_ipv6() else (4,)
    found: set[MarkRule] = set()
    for version in versions:
        for rule in kernel.get_rules(family=_family(version)):
            preference = rule.get_attr("FRA_PRIORITY", 0)
            mark = rule.get_attr("FRA_FWMARK")
            if (
                preference in RULE_PREFERENCES
                and rule.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL
                and rule.get_attr("FRA_TABLE") == ROUTE_TABLE
                and rule.get_attr("FRA_FWMASK") == mark
                and rule.get_attr("FRA_IIFNAME") == (OWN_PACKETS if mark is None else None)
            ):
                found.add(MarkRule(version, preference, mark))
    return frozenset(found)


def add(kernel: IPRoute, rule: MarkRule) -> None:
    """Add one rule; raises DataplaneError."""
    _change(kernel, "add", rule, EEXIST)


def remove(kernel: IPRoute, rule: MarkRule) -> None:
    """Remove one rule; raises DataplaneError."""
    _change(kernel, "del", rule, ENOENT)


def _change(kernel: IPRoute, command: str, rule: MarkRule, accepted: int) -> None:
    if rule.preference not in RULE_PREFERENCES:
        raise DataplaneError(f"ip rule {rule.preference} is not ours")
    selector: dict[str, object] = {"iifname": OWN_PACKETS}
    if rule.mark is not None:
        selector = {"fwmark": rule.mark, "fwmask": rule.mark}
    try:
        kernel.rule(
            command,
            family=_family(rule.version),
            priority=rule.preference,
            table=ROUTE_TABLE,
            protocol=ROUTE_PROTOCOL,
            **selector,
        )
    except NetlinkError as error:
        if error.code != accepted:
            raise DataplaneError(f"{command} ip rule {rule.preference}: {error}") from error


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6
