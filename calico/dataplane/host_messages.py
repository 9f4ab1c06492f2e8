"""The rtnetlink messages about a host's own addresses, devices and ip rules; pure.

Names and numbers are those of the kernel's headers.
"""

import struct

from netaddr import IPAddress, IPNetwork

from calico.dataplane.netlink_messages import (
    AF_INET,
    AF_INET6,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFLA_IFNAME,
    IFLA_MTU,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
)
from calico.dataplane.netlink_wire import Request, attribute, attributes, integer, number, string
from calico.dataplane.netlink_wire import text as name
from calico.dataplane.state import ROUTE_PROTOCOL, ROUTE_TABLE, RULE_PREFERENCES, MarkRule

RTM_GETADDR, RTM_GETLINK = 22, 18
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
FR_ACT_TO_TBL = 1
FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK = 3, 6, 10
FRA_TABLE, FRA_FWMASK, FRA_PROTOCOL = 15, 16, 21
#: What the kernel calls packets that the host itself sends.
OWN_PACKETS = "lo"

_ADDRESS = struct.Struct("=BBBBI")
_LINK = struct.Struct("=BxHiII")
_RULE = struct.Struct("=BBBBBBBBI")


def dump_addresses() -> Request:
    """Ask for all addresses of the host."""
    return Request("list addresses", RTM_GETADDR, NLM_F_DUMP, bytes(_ADDRESS.size))


def parse_address(body: bytes) -> tuple[int, IPNetwork] | None:
    """A device's index, and an address of it with its prefix."""
    family, length, _, _, index = _ADDRESS.unpack_from(body)
    found = attributes(body, _ADDRESS.size)
    # Of the two ends of a tunnel, the local one.
    value = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    if family not in (AF_INET, AF_INET6) or value is None:
        return None
    address = IPAddress(int.from_bytes(value, "big"), 4 if family == AF_INET else 6)
    return index, IPNetwork(f"{address}/{length}")


def ask_device(index: int) -> Request:
    """Ask for one device."""
    return Request(f"device {index}", RTM_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0))


def parse_device(body: bytes) -> tuple[str, int]:
    """A device's name and MTU."""
    found = attributes(body, _LINK.size)
    return string(found[IFLA_IFNAME]), integer(found.get(IFLA_MTU))


def dump_rules(version: int) -> Request:
    """Ask for the ip rules of one family."""
    body = _RULE.pack(_family(version), 0, 0, 0, 0, 0, 0, 0, 0)
    return Request("list ip rules", RTM_GETRULE, NLM_F_DUMP, body)


def parse_rule(body: bytes) -> MarkRule | None:
    """A rule of ours, None if it is another program's."""
    family, _, _, _, table, *_ = _RULE.unpack_from(body)
    found = attributes(body, _RULE.size)
    preference = integer(found.get(FRA_PRIORITY))
    mark = integer(found[FRA_FWMARK]) if FRA_FWMARK in found else None
    mask = integer(found[FRA_FWMASK]) if FRA_FWMASK in found else None
    interface = string(found[FRA_IIFNAME]) if FRA_IIFNAME in found else None
    if (
        preference not in RULE_PREFERENCES
        or found.get(FRA_PROTOCOL) != bytes((ROUTE_PROTOCOL,))
        or (integer(found.get(FRA_TABLE)) or table) != ROUTE_TABLE
        or mask != mark
        or interface != (OWN_PACKETS if mark is None else None)
    ):
        return None
    return MarkRule(4 if family == AF_INET else 6, preference, mark)


def add_rule(rule: MarkRule) -> Request:
    """Let some packets look into our table."""
    flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK
    return Request(f"add ip rule {rule.preference}", RTM_NEWRULE, flags, _rule(rule))


def remove_rule(rule: MarkRule) -> Request:
    """Take exactly this rule away."""
    return Request(f"remove ip rule {rule.preference}", RTM_DELRULE, NLM_F_ACK, _rule(rule))


def _rule(rule: MarkRule) -> bytes:
    body = _RULE.pack(_family(rule.version), 0, 0, 0, ROUTE_TABLE, 0, 0, FR_ACT_TO_TBL, 0)
    body += number(FRA_TABLE, ROUTE_TABLE) + number(FRA_PRIORITY, rule.preference)
    body += attribute(FRA_PROTOCOL, bytes((ROUTE_PROTOCOL,)))
    if rule.mark is None:
        return body + name(FRA_IIFNAME, OWN_PACKETS)
    return body + number(FRA_FWMARK, rule.mark) + number(FRA_FWMASK, rule.mark)


def _family(version: int) -> int:
    return AF_INET if version == 4 else AF_INET6
