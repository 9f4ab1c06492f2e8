"""How flags and files name addresses, and who may ask."""

import pytest
from netaddr import IPAddress, IPNetwork

from reconciler.dns.names import text_name
from reconciler.dns.reverse import reverse_apexes
from reconciler.dns.serving.access import Access
from reconciler.dns.settings import (
    is_own,
    parse_framework,
    parse_listen_dns,
    parse_resolver,
    resolvers_of,
)
from reconciler.runtime.listener import ListenAddress


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.2", "10.0.0.2", 53),
        ("10.0.0.2:5353", "10.0.0.2", 5353),
        ("fd00::2", "fd00::2", 53),
        ("[fd00::2]", "fd00::2", 53),
        ("[fd00::2]:5353", "fd00::2", 5353),
    ],
)
def test_a_resolver_is_an_address_and_may_have_a_port(text: str, host: str, port: int) -> None:
    assert parse_resolver(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    "text", ["", "dns.example.org", "10.0.0", "10.0.0.2:", "10.0.0.2:0", ":53"]
)
def test_what_is_no_resolver_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name server"):
        parse_resolver(text)


def test_names_are_listened_for_at_an_address_not_at_a_name() -> None:
    assert parse_listen_dns(":53") == ListenAddress("", 53)
    assert parse_listen_dns("[::1]:0") == ListenAddress("::1", 0)
    with pytest.raises(ValueError, match="no address"):
        parse_listen_dns("localhost:53")


def test_a_framework_leaves_something_of_a_name() -> None:
    assert parse_framework("marathon.prod") == "marathon.prod"
    with pytest.raises(ValueError, match="nothing"):
        parse_framework(".")


def none_is_own(_: ListenAddress) -> bool:
    return False


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param(["nameserver 10.0.0.2", "nameserver 10.0.0.3"], "10.0.0.2", id="the first"),
        pytest.param(["nameserver ::1%lo"], "::1", id="with a zone"),
        pytest.param(
            ["# nameserver 1.1.1.1", "search x", "nameserver 10.0.0.2"], "10.0.0.2", id="late"
        ),
        pytest.param(
            ["nameserver", "nameserver x", "nameserver 10.0.0.2"], "10.0.0.2", id="after bad"
        ),
        pytest.param(["options a"], None, id="none"),
        pytest.param([], None, id="empty"),
    ],
)
def test_the_machines_own_resolver_is_the_first_of_its_file(
    lines: list[str], found: str | None
) -> None:
    expected = () if found is None else (ListenAddress(found, 53),)
    assert resolvers_of(lines, none_is_own) == expected


def test_a_server_does_not_ask_itself() -> None:
    everywhere, here = ListenAddress("", 53), ListenAddress("127.0.0.1", 53)
    lines = ["nameserver 127.0.0.1", "nameserver 127.0.0.2", "nameserver 203.0.113.9"]
    assert resolvers_of(lines, is_own(everywhere)) == (ListenAddress("203.0.113.9", 53),)
    assert resolvers_of(lines, is_own(here)) == (ListenAddress("127.0.0.2", 53),)
    assert not is_own(ListenAddress("", 5353))(here)


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("192.168.3.4", True),
        ("::ffff:192.168.3.4", True),
        ("10.0.0.1", True),
        ("fe80::1%eth0", False),
        ("10.0.0.2", False),
        ("203.0.113.9", False),
    ],
)
def test_this_machine_tasks_and_hosts_may_ask(peer: str, admitted: bool) -> None:
    access = Access(None)
    access.update([IPNetwork("192.168.0.0/16")], [IPAddress("10.0.0.1")])
    assert access.admits(peer) is admitted
    assert access.admits(peer) is admitted


def test_an_address_that_is_listened_at_is_this_machines() -> None:
    access = Access(None, [IPAddress("10.0.0.53")])
    assert access.admits("10.0.0.53")
    access.update([], [])
    assert access.admits("10.0.0.53")
    assert not access.admits("10.0.0.54")


def test_who_may_ask_follows_the_pools_unless_it_was_said() -> None:
    told, said = Access(None), Access((IPNetwork("203.0.113.0/24"),))
    assert not told.admits("192.168.0.1")
    for each in (told, said):
        each.update([IPNetwork("192.168.0.0/16")], [])
    assert told.admits("192.168.0.1")
    assert not said.admits("192.168.0.1")
    assert not said.admits("127.0.0.1")
    assert said.admits("203.0.113.9")
    told.update([], [])
    assert not told.admits("192.168.0.1")


@pytest.mark.parametrize(
    ("pool", "apexes"),
    [
        ("192.168.0.0/16", {"168.192.in-addr.arpa."}),
        ("10.0.0.0/8", {"10.in-addr.arpa."}),
        ("172.16.0.0/15", {"16.172.in-addr.arpa.", "17.172.in-addr.arpa."}),
        ("192.168.1.0/31", {"0.1.168.192.in-addr.arpa.", "1.1.168.192.in-addr.arpa."}),
        ("fd80::/8", {"d.f.ip6.arpa."}),
        ("fd80::/15", {"0.8.d.f.ip6.arpa.", "1.8.d.f.ip6.arpa."}),
    ],
)
def test_the_reverse_zones_of_a_pool_hold_it_and_nothing_else(pool: str, apexes: set[str]) -> None:
    assert set(map(text_name, reverse_apexes([IPNetwork(pool)]))) == apexes
