"""How the texts of the agent's flags are read."""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.model import PortRange, Protected
from reconciler.agent.settings import (
    parse_host_ports,
    parse_mark,
    parse_protected,
    protected_servers,
)

KNOWN = {"etcd.example": (IPAddress("10.0.0.5"), IPAddress("fd00::5"))}


def resolve(name: str) -> tuple[IPAddress, ...]:
    return KNOWN.get(name, ())


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("53", (PortRange(53, 53),), id="one port"),
        pytest.param(
            "5051,53,31000-32000",
            (PortRange(53, 53), PortRange(5051, 5051), PortRange(31000, 32000)),
            id="sorted",
        ),
        pytest.param(" 80 , 81-90,85-100 ", (PortRange(80, 100),), id="merged where they touch"),
    ],
)
def test_host_ports_become_ranges(text: str, ranges: tuple[PortRange, ...]) -> None:
    assert parse_host_ports(text) == ranges


@pytest.mark.parametrize(
    "text", [pytest.param(each, id=each) for each in ("0", "65536", "9-8", "http", "1-2-3", "-5")]
)
def test_what_is_no_list_of_ports_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a port|begins"):
        parse_host_ports(text)


@pytest.mark.parametrize(
    ("text", "protected"),
    [
        pytest.param("10.0.0.0/8", (Protected(IPNetwork("10.0.0.0/8")),), id="a network, whole"),
        pytest.param("10.0.0.5:2379", (Protected(IPNetwork("10.0.0.5/32"), 2379),), id="a port"),
        pytest.param("10.1.2.3/8", (Protected(IPNetwork("10.0.0.0/8")),), id="host bits dropped"),
        pytest.param("fd00::/8", (Protected(IPNetwork("fd00::/8")),), id="IPv6, whole"),
        pytest.param(
            "[fd00::5]:2379", (Protected(IPNetwork("fd00::5/128"), 2379),), id="IPv6 port"
        ),
        pytest.param(
            "etcd.example:2379",
            (Protected(IPNetwork("10.0.0.5/32"), 2379), Protected(IPNetwork("fd00::5/128"), 2379)),
            id="a name stands for all of its addresses",
        ),
    ],
)
def test_protected_ranges_are_parsed(text: str, protected: tuple[Protected, ...]) -> None:
    assert parse_protected([text], resolve) == protected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nowhere.example", id="a name without an address"),
        pytest.param("10.0.0.0/33", id="a prefix too long"),
        pytest.param("10.0.0.5:0", id="port 0"),
        pytest.param("10/8", id="a shortened network"),
        pytest.param("[fd00::5", id="an open bracket"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_range_that_cannot_be_closed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_protected([text], resolve)


def test_the_datastore_is_protected_unless_it_is_on_loopback() -> None:
    urls = ("http://127.0.0.1:2379", "https://user:secret@10.0.0.5:4001", "http://[fd00::7]")

    assert protected_servers(urls, resolve) == (
        Protected(IPNetwork("10.0.0.5/32"), 4001),
        Protected(IPNetwork("fd00::7/128"), 2379),
    )


def test_a_mark_is_one_bit() -> None:
    assert parse_mark("0x10000") == 0x10000


@pytest.mark.parametrize(
    "text", [pytest.param(each, id=each) for each in ("0x0", "0x3", "0x100000000", "mark")]
)
def test_a_mark_of_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_mark(text)
