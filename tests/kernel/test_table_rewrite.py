"""Rules brought in anew, again and again, let nothing slip and drop nothing meanwhile.

A rule's own sets are made with it, and the kernel looks into one of intervals
in vain for a moment. So every kind of condition is tried under a flood.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPNetwork

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostConfig, HostState
from calico.model import Action, Match, PortRange, Profile, ProfileId, Protected, Rule, Tag
from reconciler.core.plan import plan_host
from tests.dataplane_worlds import group, snapshot
from tests.kernel.namespaces import Namespace
from tests.kernel.sensors import Sensor, flooding
from tests.kernel.tables import A1, A2, PORT, PROFILES, SPECS, STRANGER, TABLE_CONFIG, make_world

Make = Callable[[], Namespace]
APP = ProfileId("app")
UDP, ICMP, ECHO = 17, 1, 8
COMMITS = 100
#: Lists of ports in all the forms that they are told to the kernel in; each has PORT.
LISTS = {
    "one port": (PortRange(PORT, PORT),),
    "some ports": tuple(PortRange(port, port) for port in range(PORT - 60, PORT + 2, 3)),
    "a range": (PortRange(PORT - 90, PORT + 90),),
    "ranges": (PortRange(80, 90), PortRange(100, 900), PortRange(PORT - 9, PORT + 99)),
}
HERE = Match(src_net=IPNetwork("10.9.0.0/30"), dst_net=IPNetwork("10.9.0.2/32"))


@pytest.fixture
def dataplane(host_network: None) -> Iterator[KernelDataplane]:
    with closing(KernelDataplane()) as made:
        yield made


def state_of(rules: tuple[Rule, ...], config: HostConfig = TABLE_CONFIG) -> HostState:
    """a1 may send all, and a2 takes what these rules admit."""
    specs = (SPECS["a1"], replace(SPECS["a2"], profiles=(ProfileId("red"), APP)))
    return render_host(
        snapshot(specs, (*PROFILES, group("red"), Profile(APP, inbound=rules))), config
    ).state


def rewrite(dataplane: KernelDataplane, states: tuple[HostState, HostState]) -> None:
    """Turn the table from one state into the other and back, many times."""
    for number in range(COMMITS):
        before, after = states[number % 2], states[1 - number % 2]
        plan = plan_host(before, after, {}).plan
        dataplane.apply(tuple(each for each in plan if isinstance(each, CommitTable)))


def brought_in(dataplane: KernelDataplane, state: HostState) -> None:
    plan = plan_host(dataplane.observe(), state, {}).plan
    dataplane.apply(tuple(each for each in plan if isinstance(each, CommitTable)))


def datagrams(place: Namespace) -> int:
    """How many datagrams came that nobody listens for."""
    with place.entered():
        names, values = (
            line.split()
            for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
            if line.startswith("Udp:")
        )
    return int(values[names.index("NoPorts")])


def both_ways(*rules: Rule) -> tuple[HostState, HostState]:
    """Two states with these rules, which every change between them writes anew."""
    odd = Rule(Action.ALLOW, Match(protocol=6, src_tag=Tag("nobody")))
    return state_of(rules), state_of((*rules, odd))


def excepting(match: Match, unless: Match) -> tuple[Rule, ...]:
    return (Rule(Action.ALLOW, match, unless),)


def denying(match: Match, protocol: int | None) -> tuple[Rule, ...]:
    return (Rule(Action.DENY, match), Rule(Action.ALLOW, Match(protocol=protocol)))


#: Rules in all forms that keep the flood out by something that it is, or is in.
DENIALS = {
    "not a net": excepting(Match(), Match(src_net=HERE.src_net)),
    "denied nets": denying(HERE, None),
    "not a tag": excepting(Match(), Match(src_tag=Tag("red"))),
    "not ICMP of a kind": excepting(Match(protocol=ICMP), Match(icmp_type=ECHO, icmp_code=0)),
    "denied ICMP of a kind": denying(Match(protocol=ICMP, icmp_type=ECHO, icmp_code=0), ICMP),
    **{
        f"not {name}": excepting(Match(protocol=UDP), Match(dst_ports=ports))
        for name, ports in LISTS.items()
    },
    **{
        f"denied {name}": denying(Match(protocol=UDP, dst_ports=ports), UDP)
        for name, ports in LISTS.items()
    },
}


def test_nothing_slips_through_rules_that_are_brought_in_anew(
    namespace: Make, dataplane: KernelDataplane
) -> None:
    world = make_world(namespace)
    slipped = {}
    for name, rules in DENIALS.items():
        states = both_ways(*rules)
        brought_in(dataplane, states[0])
        with Sensor(world["a2"]) as sensor, flooding(world["a1"], A1, [A2], PORT, 0.0001):
            rewrite(dataplane, states)
            slipped[name] = sensor.forbidden
    assert {name: seen for name, seen in slipped.items() if seen} == {}


def test_nothing_allowed_is_lost_while_its_rules_are_brought_in_anew(
    namespace: Make, dataplane: KernelDataplane
) -> None:
    world = make_world(namespace)
    lost = {}
    for name, ports in LISTS.items():
        states = both_ways(Rule(Action.ALLOW, Match(protocol=UDP, dst_ports=ports)))
        brought_in(dataplane, states[0])
        before = datagrams(world["a2"])
        with flooding(world["a1"], A1, [A2], PORT, 0.0001) as flood:
            rewrite(dataplane, states)
        lost[name] = before + flood.sent / 3 - datagrams(world["a2"])
    assert lost == dict.fromkeys(LISTS, 0)


@pytest.mark.parametrize(
    "network",
    [pytest.param(f"{STRANGER}/32", id="an address"), pytest.param("10.77.0.0/29", id="a net")],
)
def test_what_is_protected_stays_so_while_the_tables_frame_is_brought_in_anew(
    namespace: Make, dataplane: KernelDataplane, network: str
) -> None:
    world = make_world(namespace)
    closed = Protected(IPNetwork(network))
    configs = [
        replace(TABLE_CONFIG, protected=(closed, Protected(IPNetwork(f"10.88.{n}.0/24"))))
        for n in (1, 2)
    ]
    one, two = (state_of((), config) for config in configs)
    brought_in(dataplane, one)
    with Sensor(world.outside) as sensor, flooding(world["a1"], A1, [STRANGER], PORT, 0.0001):
        rewrite(dataplane, (one, two))
        assert sensor.forbidden == []
