"""Which connections end when policy takes something away."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico.dataplane.state import Connection
from calico.model import (
    Action,
    EndpointSpec,
    Match,
    PortRange,
    ProfileId,
    Protected,
    Rule,
    Snapshot,
)
from reconciler.core.reaching.admitted import not_admitted
from reconciler.core.reaching.reach import EndpointParty, Packet, reach
from tests.dataplane_worlds import CONFIG, THERE, group, openings, snapshot, spec

TCP, UDP, ICMP = 6, 17, 1
WEB = spec("web.1", "red", "app-red", addresses=["10.9.0.1"])
FRIEND = spec("friend.1", "red", "app-red", addresses=["10.9.0.2"], host=THERE)
FOE = spec("foe.1", "blue", "app-blue", addresses=["10.9.0.3"], host=THERE)
PROFILES = (
    group("red"),
    openings("app-red", "red", 80),
    group("blue"),
    openings("app-blue", "blue", 80),
)
WORLD = snapshot([WEB, FRIEND, FOE], PROFILES)
HOST, OTHER_HOST = CONFIG.address, IPAddress("10.77.0.2")
OUTSIDE, NOBODY = IPAddress("203.0.113.7"), IPAddress("10.9.7.7")
CLOSED = replace(CONFIG, protected=(Protected(IPNetwork("203.0.113.0/24"), 2379),))


def between(
    source: EndpointSpec | IPAddress,
    target: EndpointSpec | IPAddress,
    port: int | None = 80,
    protocol: int = TCP,
    icmp: tuple[int, int, int] | None = None,
) -> Connection:
    begun, ended = (
        each if isinstance(each, IPAddress) else each.addresses[0] for each in (source, target)
    )
    first = None if port is None else 40000
    return Connection(protocol, begun, ended, ended, begun, first, port, icmp)


@pytest.mark.parametrize(
    ("connection", "admitted"),
    [
        pytest.param(between(FRIEND, WEB), True, id="a friend to an open port"),
        pytest.param(between(WEB, FRIEND), True, id="to a friend of another host"),
        pytest.param(between(FRIEND, WEB, 81), False, id="a friend to a closed port"),
        pytest.param(between(FRIEND, WEB, 80, 132), False, id="another protocol"),
        pytest.param(between(FOE, WEB), False, id="a foe"),
        pytest.param(between(FRIEND, WEB, None, ICMP, (8, 0, 7)), True, id="a friend's echo"),
        pytest.param(between(FRIEND, WEB, None, ICMP, (13, 0, 7)), False, id="another ICMP"),
        pytest.param(between(FOE, WEB, None, ICMP, (8, 0, 7)), False, id="a foe's echo"),
        pytest.param(between(OUTSIDE, WEB), False, id="from outside"),
        pytest.param(between(WEB, OUTSIDE), True, id="to the outside"),
        pytest.param(
            replace(between(WEB, OUTSIDE), answered=HOST), True, id="masqueraded to the outside"
        ),
        pytest.param(
            replace(between(FRIEND, WEB), answering=NOBODY), False, id="to a translated target"
        ),
        pytest.param(between(NOBODY, WEB), False, id="from an address of the pool that nobody has"),
        pytest.param(between(WEB, NOBODY), False, id="to an address of the pool that nobody has"),
        pytest.param(between(HOST, WEB, 81), True, id="the host to its task"),
        pytest.param(between(OTHER_HOST, WEB), False, id="another host to a task"),
        pytest.param(between(WEB, HOST, 5051), True, id="to an open port of the host"),
        pytest.param(between(FOE, HOST, 5051), True, id="from afar to an open port of the host"),
        pytest.param(between(WEB, HOST, 22), False, id="to a closed port of the host"),
        pytest.param(between(WEB, HOST, None, ICMP, (8, 0, 7)), False, id="an echo to the host"),
        pytest.param(between(WEB, OTHER_HOST, 22), True, id="to another host, which judges itself"),
        pytest.param(between(WEB, OUTSIDE, 2379), False, id="to what is protected"),
        pytest.param(between(WEB, OUTSIDE, 2379, UDP), False, id="to what is protected, by UDP"),
    ],
)
def test_what_policy_would_let_begin_now_goes_on(connection: Connection, admitted: bool) -> None:
    ended = not_admitted([connection], WORLD, CLOSED)
    assert ended == (() if admitted else (connection,))


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(snapshot([WEB, replace(FRIEND, active=False)], PROFILES), id="inactive"),
        pytest.param(snapshot([WEB], PROFILES), id="withdrawn"),
        pytest.param(
            snapshot([WEB, FRIEND, replace(FOE, addresses=FRIEND.addresses)], PROFILES),
            id="two have its address",
        ),
        pytest.param(snapshot([WEB, FRIEND, FOE], PROFILES[2:]), id="its profile is missing"),
        pytest.param(
            snapshot([WEB, FRIEND], (replace(PROFILES[0], problem="unreadable"), *PROFILES[1:])),
            id="a profile cannot be read",
        ),
    ],
)
def test_a_friend_is_admitted_no_more(world: Snapshot) -> None:
    connection = between(FRIEND, WEB)
    assert not_admitted([connection], world, CONFIG) == (connection,)


def test_connections_that_only_a_source_port_tells_apart_are_judged_apart() -> None:
    inbound = Rule(Action.ALLOW, Match(protocol=TCP, src_ports=(PortRange(1, 1023),)))
    by_source_port = replace(PROFILES[1], inbound=(inbound,))
    world = snapshot([WEB, FRIEND], (PROFILES[0], by_source_port))
    high = between(FRIEND, WEB)
    low = replace(high, source_port=1000)
    assert not_admitted([high, low], world, CONFIG) == (high,)


def test_nothing_of_an_address_that_changed_hands_goes_on() -> None:
    connection = between(FRIEND, WEB)
    gone = frozenset(FRIEND.addresses)
    assert not_admitted([connection], WORLD, CONFIG, gone) == (connection,)


def test_a_task_whose_address_the_host_takes_for_its_own_is_not_admitted() -> None:
    connection = between(FRIEND, WEB)
    here = replace(CONFIG, networks=(IPNetwork("10.9.0.0/30"),))
    assert not_admitted([connection], WORLD, here) == (connection,)


@given(
    st.sets(st.sampled_from(["red", "blue", "app-red", "app-blue", "none"])),
    st.sets(st.sampled_from(["red", "blue", "app-red", "app-blue", "none"])),
    st.sampled_from([80, 81]),
)
def test_between_tasks_the_answer_is_that_of_the_rules(
    mine: set[str], theirs: set[str], port: int
) -> None:
    source = replace(FRIEND, profiles=tuple(map(ProfileId, sorted(mine))))
    target = replace(WEB, profiles=tuple(map(ProfileId, sorted(theirs))))
    world = snapshot([source, target], PROFILES)
    packet = Packet(source.addresses[0], target.addresses[0], TCP, 40000, port)
    allowed = reach(world, EndpointParty(source), EndpointParty(target), packet).allowed
    connection = between(source, target, port)
    assert (not_admitted([connection], world, CONFIG) == ()) is allowed
