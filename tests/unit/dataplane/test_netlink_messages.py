"""Messages packed by hand mean to pyroute2 what they mean to us, and back."""

from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from calico.dataplane.netlink import messages
from calico.dataplane.netlink.wire import (
    NLMSG_ERROR,
    Reply,
    Request,
    error_code,
    explanation,
    split_replies,
)
from calico.dataplane.state import Route, RouteKind
from calico.model import InterfaceName

MAC = EUI("02:00:00:00:00:01")
NAME = InterfaceName("cali00000000001")


def read(form: type[Any], request: Request) -> Any:
    """What pyroute2 makes of a message."""
    message = form(request.packed(7))
    message.decode()
    assert message["header"]["sequence_number"] == 7
    assert message["header"]["type"] == request.kind
    return message


def test_a_veth_has_its_peer_in_the_namespace() -> None:
    link = read(ifinfmsg, messages.create_veth(NAME, "eth0", 5, MAC, 1400))
    peer = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert link["flags"] == 0
    assert [link.get_attr(f"IFLA_{each}") for each in ("IFNAME", "ADDRESS", "MTU", "GROUP")] == [
        NAME,
        "ee:ee:ee:ee:ee:ee",
        1400,
        80,
    ]
    assert [peer.get_attr(f"IFLA_{each}") for each in ("IFNAME", "ADDRESS", "MTU")] == [
        "eth0",
        "02:00:00:00:00:01",
        1400,
    ]
    assert peer.get_attr("IFLA_NET_NS_FD") == 5


def test_a_link_comes_up_and_gets_its_alias_in_one_message() -> None:
    link = read(ifinfmsg, messages.raise_link(9, "app.1 digest"))
    assert (link["index"], link["flags"] & 1, link["change"]) == (9, 1, 1)
    assert link.get_attr("IFLA_IFALIAS") == "app.1 digest"


@pytest.mark.parametrize(
    ("address", "length", "flags"),
    [
        pytest.param(IPAddress("10.9.0.1"), 32, 0, id="ipv4"),
        pytest.param(IPAddress("fd00:9::1"), 128, 2, id="ipv6 skips the search for duplicates"),
    ],
)
def test_an_address_is_one_hosts(address: IPAddress, length: int, flags: int) -> None:
    message = read(ifaddrmsg, messages.add_address(9, address))
    assert (message["index"], message["prefixlen"], message["flags"]) == (9, length, flags)
    assert message.get_attr("IFA_ADDRESS") == str(address)


@pytest.mark.parametrize("gateway", ["169.254.1.1", "fe80::1"])
def test_a_tasks_way_out_is_a_route_and_a_neighbour(gateway: str) -> None:
    near, far = (read(rtmsg, each) for each in messages.add_gateway(9, IPAddress(gateway)))
    assert (near.get_attr("RTA_DST"), near.get_attr("RTA_OIF"), near["scope"]) == (gateway, 9, 253)
    assert (far["dst_len"], far.get_attr("RTA_GATEWAY")) == (0, gateway)
    neighbour = read(ndmsg, messages.add_neighbour(9, IPAddress(gateway), MAC))
    assert (neighbour["ifindex"], neighbour["state"]) == (9, 0x80)
    assert neighbour.get_attr("NDA_DST") == gateway
    assert neighbour.get_attr("NDA_LLADDR") == "02:00:00:00:00:01"


ROUTES = [
    pytest.param(Route(IPNetwork("10.9.0.1/32"), RouteKind.TASK, 80, NAME), id="to a task"),
    pytest.param(Route(IPNetwork("fd00:9::1/128"), RouteKind.TASK, 80, NAME), id="to a task's v6"),
    pytest.param(
        Route(IPNetwork("10.9.0.1/32"), RouteKind.TASK, 80, NAME, source=IPAddress("10.1.0.1")),
        id="to a task from a source",
    ),
    pytest.param(
        Route(IPNetwork("10.9.0.64/26"), RouteKind.HOST, 80, gateway=IPAddress("10.1.0.2")),
        id="to a host",
    ),
    pytest.param(
        Route(IPNetwork("fd00:9::40/122"), RouteKind.HOST, 80, gateway=IPAddress("fd00:1::2")),
        id="to a host's v6",
    ),
    pytest.param(Route(IPNetwork("10.9.0.0/16"), RouteKind.BLACKHOLE, 254), id="to nowhere"),
    pytest.param(Route(IPNetwork("0.0.0.0/0"), RouteKind.BLACKHOLE, 80), id="all to nowhere"),
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_read_as_it_was_written(route: Route) -> None:
    index = 9 if route.interface is not None else None
    request = messages.add_route(route, index)
    assert messages.own_route(messages.parse_route(request.body), {9: NAME}) == route
    assert read(rtmsg, request)["proto"] == 80


def test_a_route_of_another_protocol_or_table_is_not_ours() -> None:
    ours = messages.add_route(Route(IPNetwork("10.9.0.0/16"), RouteKind.BLACKHOLE, 80), None).body
    foreign = ours[:5] + bytes([4]) + ours[6:]
    elsewhere = messages.add_route(Route(IPNetwork("10.9.0.0/16"), RouteKind.BLACKHOLE, 7), None)
    assert messages.own_route(messages.parse_route(ours), {}) is not None
    assert messages.own_route(messages.parse_route(foreign), {}) is None
    assert messages.own_route(messages.parse_route(elsewhere.body), {}) is None


def test_a_datagram_is_split_into_its_messages() -> None:
    first, second = messages.put_in_group(1, 80), messages.delete_group(80)
    data = first.packed(1) + second.packed(2)
    assert [(each.kind, each.sequence) for each in split_replies(data)] == [
        (first.kind, 1),
        (second.kind, 2),
    ]
    assert [each.body for each in split_replies(data)] == [first.body, second.body]


@pytest.mark.parametrize("cut", [1, 15, 16, 20])
def test_a_cut_datagram_never_raises(cut: int) -> None:
    assert len(list(split_replies(messages.delete_group(80).packed(1)[:cut]))) <= 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param((0).to_bytes(4, "little"), 0, id="success"),
        pytest.param((-17).to_bytes(4, "little", signed=True), 17, id="exists"),
        pytest.param(b"", 0, id="nothing said"),
    ],
)
def test_an_answer_has_an_error_number(body: bytes, code: int) -> None:
    assert error_code(body) == code


def test_a_refusal_without_words_has_none() -> None:
    assert explanation(Reply(NLMSG_ERROR, 0, 1, bytes(20))) == ""
