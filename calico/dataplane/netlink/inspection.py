"""Both sides of one task's veth, and what rules have counted, from any thread.

The task's side is read from outside, by the number under which the host's
namespace knows the task's: nothing is entered, no process is needed, and what
is read is surely the other end of this very link. Unlike the rest of the
dataplane this opens sockets of its own, in the calling thread's namespace.
"""

import socket
import struct
from collections.abc import Iterable, Mapping

from netaddr import EUI, IPAddress

from calico.dataplane.netlink import messages
from calico.dataplane.netlink.batches import (
    NETLINK_NETFILTER,
    NetlinkSocket,
)
from calico.dataplane.netlink.wire import (
    NLMSG_DONE,
    Request,
    attributes,
    integer,
    number,
    signed,
    string,
    text,
)
from calico.dataplane.nft.look import NFT_MSG_GETRULE, RULE_CHAIN, items, parse_rule
from calico.dataplane.nft.wire import request
from calico.dataplane.state import Counters, LinkSide, RuleCount, SeenTaskLink
from calico.errors import DataplaneError
from calico.model import InterfaceName

RTM_NEWADDR, RTM_GETADDR = 20, 22
IFLA_LINK, IFLA_STATS64, IFLA_CARRIER = 5, 23, 33
IFA_TARGET_NETNSID = 10
RULE_EXPRESSIONS, EXPRESSION_NAME, EXPRESSION_DATA = 4, 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_STATS = struct.Struct("=8Q")


class KernelInspector:
    """Reads what the loop does not look at; has no state, so any thread may use it."""

    def link(self, name: InterfaceName) -> SeenTaskLink | None:
        """The link of that name in the calling thread's namespace; None if there is none.

        Raises DataplaneError.
        """
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return None
        with NetlinkSocket() as kernel:
            body = kernel.ask(ask_link(index)).body
            peer, namespace = parse_peer(body)
            if peer is None or namespace is None:
                return SeenTaskLink(parse_side(body))
            inside = parse_side(kernel.ask(ask_link(peer, namespace)).body)
            replies = kernel.dump(dump_addresses(peer, namespace))
            found = (parse_address(reply.body) for reply in replies if reply.kind == RTM_NEWADDR)
            addresses = tuple(sorted(each for each in found if each is not None))
            return SeenTaskLink(parse_side(body), inside, addresses)

    def counts(self, chains: Iterable[str]) -> Mapping[str, tuple[RuleCount, ...]]:
        """The rules of some chains of our table, in their order, with their counts.

        A chain that is not there is left out. Raises DataplaneError.
        """
        found = {}
        with NetlinkSocket(protocol=NETLINK_NETFILTER) as kernel:
            for name in chains:
                replies = kernel.dump(list_rules_of(name))
                counts = tuple(
                    parse_count(each.body) for each in replies if each.kind != NLMSG_DONE
                )
                if counts:
                    found[name] = counts
        return found


def list_rules_of(chain: str) -> Request:
    """Ask for the rules of one chain."""
    return request(NFT_MSG_GETRULE, messages.NLM_F_DUMP, text(RULE_CHAIN, chain))


def parse_count(body: bytes) -> RuleCount:
    """What a rule's first counter has counted."""
    _, digest = parse_rule(body)
    for packed in items(attributes(body, 4).get(RULE_EXPRESSIONS, b"")):
        expression = attributes(packed, 0)
        if string(expression.get(EXPRESSION_NAME, b"")) == "counter":
            counter = attributes(expression.get(EXPRESSION_DATA, b""), 0)
            packets, size = (
                int.from_bytes(counter.get(kind, b""), "big")
                for kind in (COUNTER_PACKETS, COUNTER_BYTES)
            )
            return RuleCount(digest or "", packets, size)
    return RuleCount(digest or "")


def ask_link(index: int, namespace: int | None = None) -> Request:
    """Ask for one device with its counters, perhaps of another namespace."""
    body = _LINK.pack(0, 0, index, 0, 0)
    if namespace is not None:
        body += number(messages.IFLA_TARGET_NETNSID, namespace)
    return Request(f"read device {index}", messages.RTM_GETLINK, 0, body)


def dump_addresses(index: int, namespace: int) -> Request:
    """Ask for the addresses of one device of another namespace."""
    body = _ADDRESS.pack(0, 0, 0, 0, index) + number(IFA_TARGET_NETNSID, namespace)
    return Request(f"list addresses of device {index}", RTM_GETADDR, messages.NLM_F_DUMP, body)


def parse_peer(body: bytes) -> tuple[int | None, int | None]:
    """The index of a device's other end and the number of that end's namespace."""
    found = attributes(body, _LINK.size)
    peer, namespace = integer(found.get(IFLA_LINK)), signed(found.get(messages.IFLA_LINK_NETNSID))
    return peer or None, namespace if namespace >= 0 else None


def parse_side(body: bytes) -> LinkSide:
    """One device as it was answered."""
    _, _, _, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    stats = found.get(IFLA_STATS64, b"")
    if len(stats) < _STATS.size:
        raise DataplaneError("the kernel tells no counters of a device")
    received, sent, received_bytes, sent_bytes, _, _, lost, unsent = _STATS.unpack_from(stats)
    return LinkSide(
        name=string(found[messages.IFLA_IFNAME]),
        alias=string(found.get(messages.IFLA_IFALIAS, b"")),
        up=bool(flags & messages.IFF_UP),
        carrier=bool(found.get(IFLA_CARRIER, b"\0")[0]),
        mac=EUI(int.from_bytes(found.get(messages.IFLA_ADDRESS, bytes(6)), "big"), version=48),
        mtu=integer(found.get(messages.IFLA_MTU)),
        counters=Counters(
            received_packets=received,
            received_bytes=received_bytes,
            received_dropped=lost,
            sent_packets=sent,
            sent_bytes=sent_bytes,
            sent_dropped=unsent,
        ),
    )


def parse_address(body: bytes) -> IPAddress | None:
    """One address of a dump; None where it has none."""
    found = attributes(body, _ADDRESS.size)
    value = found.get(messages.IFA_LOCAL, found.get(messages.IFA_ADDRESS))
    if value is None:
        return None
    return IPAddress(int.from_bytes(value, "big"), 4 if len(value) == 4 else 6)
