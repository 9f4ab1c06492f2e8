"""The evaluator of Calico's rules: each condition, their order, and a group model beside it."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico.closing import Direction
from calico.model import (
    Action,
    BootId,
    EndpointSpec,
    HostEndpoint,
    HostEndpointId,
    HostName,
    HostRecord,
    Match,
    Policy,
    PolicyId,
    PortOpening,
    PortRange,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    Tag,
    TaskId,
    TaskRecord,
)
from calico.names import endpoint_of_task, interface_of
from calico.selector import HasLabel
from reconciler.core.reaching.open_ports import open_ports
from reconciler.core.reaching.reach import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Cause,
    EndpointParty,
    HostParty,
    OutsideParty,
    Packet,
    Shortcut,
    TagsOfEnds,
    evaluate,
    first_packet,
    matches,
    reach,
)
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of

A, B = IPAddress("10.0.0.1"), IPAddress("10.0.0.2")
A6, B6 = IPAddress("fd80::1"), IPAddress("fd80::2")
WEB = Packet(A, B, TCP, 49152, 80)
PING = first_packet(A, B, ICMP)
HOST = HostName("host-a")
NONE = TagsOfEnds(frozenset(), frozenset())
RED = TagsOfEnds(frozenset({Tag("red")}), frozenset())


def ports(*numbers: int) -> tuple[PortRange, ...]:
    return tuple(PortRange(number, number) for number in numbers)


def spec_of(task: str, address: IPAddress, *profiles: str, active: bool = True) -> EndpointSpec:
    endpoint = endpoint_of_task(HOST, TaskId(task))
    names = tuple(map(ProfileId, profiles))
    return EndpointSpec(endpoint, interface_of(endpoint), None, (address,), names, active=active)


def snapshot_of(*parts: EndpointSpec | Profile) -> Snapshot:
    return Snapshot(
        specs={part.id: part for part in parts if isinstance(part, EndpointSpec)},
        profiles={part.id: part for part in parts if isinstance(part, Profile)},
    )


@pytest.mark.parametrize(
    ("match", "packet", "holds"),
    [
        pytest.param(Match(), WEB, True, id="nothing asked"),
        pytest.param(Match(protocol=TCP), WEB, True, id="protocol"),
        pytest.param(Match(protocol=UDP), WEB, False, id="another protocol"),
        pytest.param(Match(src_tag=Tag("red")), WEB, True, id="source tag"),
        pytest.param(Match(src_tag=Tag("blue")), WEB, False, id="tag of the other end"),
        pytest.param(Match(dst_tag=Tag("blue")), WEB, True, id="destination tag"),
        pytest.param(Match(src_net=IPNetwork("10.0.0.0/31")), WEB, True, id="source net"),
        pytest.param(Match(dst_net=IPNetwork("10.0.0.0/31")), WEB, False, id="outside net"),
        pytest.param(Match(protocol=TCP, dst_ports=ports(80)), WEB, True, id="port"),
        pytest.param(Match(protocol=TCP, dst_ports=ports(79, 81)), WEB, False, id="neighbours"),
        pytest.param(
            Match(protocol=TCP, dst_ports=(PortRange(1, 80),)), WEB, True, id="last of a range"
        ),
        pytest.param(Match(protocol=TCP, src_ports=ports(80)), WEB, False, id="source port"),
        pytest.param(Match(protocol=ICMP, icmp_type=8), PING, True, id="echo request"),
        pytest.param(Match(protocol=ICMP, icmp_type=0), PING, False, id="echo reply"),
        pytest.param(Match(protocol=ICMP, icmp_type=8, icmp_code=1), PING, False, id="code"),
    ],
)
def test_a_condition_holds_and_its_negation_does_not(
    match: Match, packet: Packet, holds: bool
) -> None:
    tags = TagsOfEnds(frozenset({Tag("red")}), frozenset({Tag("blue")}))
    assert matches(Rule(Action.ALLOW, match), packet, tags) is holds
    alone = Match(protocol=match.protocol)
    if match == alone:
        negated = Rule(Action.ALLOW, unless=match)
        assert matches(negated, packet, tags) is (match == Match() or not holds)
    else:
        # Ports and ICMP types may only be negated beside a protocol.
        negated = Rule(Action.ALLOW, alone, unless=replace(match, protocol=None))
        assert matches(negated, packet, tags) is not holds


def test_all_conditions_must_hold() -> None:
    match = Match(protocol=TCP, src_tag=Tag("red"), dst_ports=ports(80))
    assert matches(Rule(Action.ALLOW, match), WEB, RED)
    assert not matches(Rule(Action.ALLOW, match), WEB, NONE)


def test_each_negated_condition_must_fail_for_itself() -> None:
    unless = Match(src_tag=Tag("red"), dst_tag=Tag("green"))
    rule = Rule(Action.ALLOW, unless=unless)
    assert not matches(rule, WEB, RED)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Rule(Action.ALLOW, ip_version=4), id="rule of IPv4"),
        pytest.param(Rule(Action.ALLOW, Match(src_net=IPNetwork("0.0.0.0/0"))), id="net"),
        pytest.param(
            Rule(Action.ALLOW, unless=Match(dst_net=IPNetwork("10.0.0.0/8"))), id="not a net"
        ),
        pytest.param(Rule(Action.ALLOW, Match(protocol=ICMP)), id="ICMP of IPv4"),
    ],
)
def test_a_rule_of_ipv4_opens_nothing_for_ipv6(rule: Rule) -> None:
    assert not matches(rule, first_packet(A6, B6, TCP, 80), NONE)
    assert not matches(rule, first_packet(A6, B6, ICMPV6), NONE)


ALLOW, DENY, LOG = Rule(Action.ALLOW), Rule(Action.DENY), Rule(Action.LOG)
OTHER = Rule(Action.ALLOW, Match(protocol=UDP))
SELECTOR = Rule(Action.ALLOW, unless=Match(src_selector="all()"))


@pytest.mark.parametrize(
    ("profiles", "cause", "decided"),
    [
        pytest.param([[ALLOW, DENY]], Cause.RULE, (True, "p0", 1), id="allow before deny"),
        pytest.param([[DENY, ALLOW]], Cause.RULE, (False, "p0", 1), id="deny before allow"),
        pytest.param([[LOG, OTHER, ALLOW]], Cause.RULE, (True, "p0", 3), id="log decides nothing"),
        pytest.param([[OTHER], [ALLOW]], Cause.RULE, (True, "p1", 1), id="the next profile"),
        pytest.param([[DENY], [ALLOW]], Cause.RULE, (False, "p0", 1), id="deny ends the list"),
        pytest.param([[OTHER], []], Cause.NO_RULE, (False, None, 0), id="deny at the end"),
        pytest.param([], Cause.NO_RULE, (False, None, 0), id="no profile at all"),
        pytest.param(
            [None, [ALLOW]], Cause.PROFILE_ABSENT, (False, "p0", 0), id="an absent one closes"
        ),
        pytest.param(
            [[ALLOW], None], Cause.RULE, (True, "p0", 1), id="an absent one closes the rest only"
        ),
        pytest.param(
            [[OTHER], "bad", [ALLOW]],
            Cause.PROFILE_UNENFORCEABLE,
            (False, "p1", 0),
            id="a malformed one closes",
        ),
        pytest.param(
            [[ALLOW, SELECTOR]],
            Cause.PROFILE_UNENFORCEABLE,
            (False, "p0", 0),
            id="a selector closes its whole profile",
        ),
    ],
)
def test_the_first_profile_that_decides_decides(
    profiles: list[list[Rule] | str | None], cause: Cause, decided: tuple[bool, str | None, int]
) -> None:
    # given
    stored = []
    for number, content in enumerate(profiles):
        if isinstance(content, str):
            stored.append(Profile(ProfileId(f"p{number}"), inbound=(ALLOW,), problem=content))
        elif content is not None:
            stored.append(Profile(ProfileId(f"p{number}"), inbound=tuple(content)))
    spec = spec_of("b", B, *(f"p{number}" for number in range(len(profiles))))
    # when
    decision = evaluate(snapshot_of(spec, *stored), spec, Direction.INBOUND, WEB, NONE)
    # then
    assert decision.cause is cause
    assert (decision.allowed, decision.profile, decision.number) == decided


def test_both_ends_must_allow() -> None:
    out_only = Profile(ProfileId("out"), outbound=(ALLOW,))
    in_only = Profile(ProfileId("in"), inbound=(ALLOW,))
    a, b = spec_of("a", A, "out"), spec_of("b", B, "in")
    snapshot = snapshot_of(a, b, out_only, in_only)
    assert reach(snapshot, EndpointParty(a), EndpointParty(b), WEB).allowed
    back = reach(snapshot, EndpointParty(b), EndpointParty(a), first_packet(B, A, TCP, 80))
    assert not back.allowed
    assert back.decision is not None
    assert back.decision.direction is Direction.OUTBOUND


def test_an_inactive_endpoint_is_closed() -> None:
    b = spec_of("b", B, "p", active=False)
    snapshot = snapshot_of(b, Profile(ProfileId("p"), inbound=(ALLOW,)))
    found = reach(snapshot, OutsideParty(), EndpointParty(b), WEB)
    assert not found.allowed
    assert found.decision is not None
    assert found.decision.cause is Cause.INACTIVE


def test_a_host_reaches_its_own_tasks_whatever_their_profiles() -> None:
    b = spec_of("b", B)
    found = reach(snapshot_of(b), HostParty(HOST), EndpointParty(b), WEB)
    assert (found.allowed, found.shortcut) == (True, Shortcut.OWN_HOST)
    assert not reach(snapshot_of(b), HostParty(HostName("x")), EndpointParty(b), WEB).allowed


def test_what_a_host_lets_in_is_not_told_by_the_datastore() -> None:
    a = spec_of("a", A, "p")
    snapshot = snapshot_of(a, Profile(ProfileId("p"), outbound=(ALLOW,)))
    found = reach(snapshot, EndpointParty(a), HostParty(HOST), WEB)
    assert (found.allowed, found.shortcut) == (None, Shortcut.HOST_DECIDES)


# -- a naive model of groups beside the rules --

GROUPS = st.lists(st.sampled_from(["red", "blue", "green", "public"]), unique=True, max_size=3)
PORTS = st.lists(
    st.tuples(st.sampled_from(["tcp", "udp"]), st.sampled_from([1, 80, 81, 82, 9000, 65535])),
    unique=True,
    max_size=4,
)
HOSTS = tuple(
    HostRecord(HostName(name), IPAddress(address), BootId("boot"), "machine", "0")
    for name, address in (("host-a", "10.1.0.1"), ("host-b", "10.1.0.2"))
)
OUTSIDE = IPAddress("172.16.0.9")
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}


@dataclass(frozen=True)
class NaiveTask:
    """What an operator believes of a task."""

    number: int
    host: HostRecord
    groups: frozenset[str]
    ports: frozenset[tuple[str, int]]

    @property
    def address(self) -> IPAddress:
        return IPAddress(f"192.168.0.{self.number + 1}")

    def record(self) -> TaskRecord:
        openings = tuple(PortOpening(protocol, port) for protocol, port in sorted(self.ports))
        return TaskRecord(
            TaskId(f"app.{self.number}"),
            "/app",
            "",
            self.host.name,
            tuple(sorted(self.groups)),
            openings,
            bool(openings),
        )

    def opens(self, protocol: str, port: int) -> bool:
        return not self.ports or protocol == "icmp" or (protocol, port) in self.ports

    def lets_in(self, other: "NaiveTask") -> bool:
        return "public" in self.groups or bool(self.groups & other.groups)


TASKS = st.lists(st.tuples(st.sampled_from(HOSTS), GROUPS, PORTS), min_size=2, max_size=5).map(
    lambda rows: [
        NaiveTask(number, host, frozenset(groups), frozenset(declared))
        for number, (host, groups, declared) in enumerate(rows)
    ]
)


def stored(tasks: list[NaiveTask], policy: NetworkPolicy) -> tuple[Snapshot, list[EndpointParty]]:
    specs, profiles = [], {}
    for task in tasks:
        found = profiles_of(task.record(), task.host, policy)
        profiles.update({profile.id: profile for profile in found})
        endpoint = endpoint_of_task(task.host.name, task.record().task)
        names = tuple(profile.id for profile in found)
        interface = interface_of(endpoint)
        specs.append(EndpointSpec(endpoint, interface, None, (task.address,), names))
    snapshot = Snapshot(specs={spec.id: spec for spec in specs}, profiles=profiles)
    return snapshot, [EndpointParty(spec) for spec in specs]


@given(tasks=TASKS, protocol=st.sampled_from(sorted(PROTOCOLS)), data=st.data())
def test_rules_allow_exactly_what_groups_and_ports_say(
    tasks: list[NaiveTask], protocol: str, data: st.DataObject
) -> None:
    port = data.draw(st.sampled_from([1, 2, 80, 81, 82, 83, 9000, 65535]))
    snapshot, parties = stored(tasks, NetworkPolicy())
    for source, party in zip(tasks, parties, strict=True):
        for destination, other in zip(tasks, parties, strict=True):
            packet = first_packet(
                source.address,
                destination.address,
                PROTOCOLS[protocol],
                None if protocol == "icmp" else port,
            )
            wanted = source is destination or (
                destination.lets_in(source) and destination.opens(protocol, port)
            )
            assert reach(snapshot, party, other, packet).allowed == wanted


@given(tasks=TASKS, port=st.sampled_from([1, 2, 80, 81, 9000, 65535]), allowed=st.booleans())
def test_an_outside_address_is_let_in_by_flag_or_public_alone(
    tasks: list[NaiveTask], port: int, allowed: bool
) -> None:
    nets = (IPNetwork("172.16.0.0/24"),) if allowed else ()
    snapshot, parties = stored(tasks, NetworkPolicy(allow_from=nets))
    for task, party in zip(tasks, parties, strict=True):
        packet = first_packet(OUTSIDE, task.address, TCP, port)
        wanted = (allowed or "public" in task.groups) and task.opens("tcp", port)
        assert reach(snapshot, OutsideParty(), party, packet).allowed == wanted


@given(tasks=TASKS, protocol=st.sampled_from([TCP, UDP]))
def test_open_ports_are_those_that_single_packets_find(
    tasks: list[NaiveTask], protocol: int
) -> None:
    snapshot, parties = stored(tasks, NetworkPolicy())
    pair = tasks[0].address, tasks[1].address
    found = open_ports(snapshot, parties[0], parties[1], pair, protocol)
    assert all(one.last + 1 < two.first for one, two in pairwise(found))
    for port in (1, 2, 79, 80, 81, 82, 83, 8999, 9000, 9001, 65534, 65535):
        packet = first_packet(*pair, protocol, port)
        single = reach(snapshot, parties[0], parties[1], packet).allowed
        assert any(one.first <= port <= one.last for one in found) == single


def test_a_tag_counts_every_endpoint_that_holds_the_address() -> None:
    # given two endpoints with one address, as while a task is replaced
    tagged = Profile(ProfileId("red"), tags=(Tag("red"),), outbound=(ALLOW,))
    guard = Profile(ProfileId("app"), inbound=(Rule(Action.ALLOW, Match(src_tag=Tag("red"))),))
    plain = Profile(ProfileId("plain"), outbound=(ALLOW,))
    old, new, b = spec_of("old", A, "red"), spec_of("new", A, "plain"), spec_of("b", B, "app")
    snapshot = snapshot_of(old, new, b, tagged, guard, plain)
    # then
    assert reach(snapshot, EndpointParty(new), EndpointParty(b), WEB).allowed
    without = replace(snapshot, specs={new.id: new, b.id: b})
    assert not reach(without, EndpointParty(new), EndpointParty(b), WEB).allowed


def test_a_tiered_policy_decides_before_any_profile() -> None:
    policy = Policy(PolicyId("default", "web"), HasLabel("role"))
    opening = Profile(ProfileId("all"), (), (Rule(Action.ALLOW),), (Rule(Action.ALLOW),))
    plain, closed = spec_of("plain", A, "all"), spec_of("closed", B, "all")
    closed = replace(closed, labels=(("role", "web"),))
    world = replace(snapshot_of(plain, closed, opening), policies={policy.id: policy})
    for source, target in ((plain, closed), (closed, plain)):
        packet = first_packet(source.addresses[0], target.addresses[0], TCP, 80)
        found = reach(world, EndpointParty(source), EndpointParty(target), packet)
        assert found.decision is not None
        assert (found.allowed, found.decision.cause) == (False, Cause.POLICY)
        assert found.decision.policies == (policy.id,)


def test_an_endpoint_that_is_not_active_has_the_tags_of_its_profiles() -> None:
    red = Profile(ProfileId("red"), (Tag("red"),), (Rule(Action.ALLOW, Match(src_tag=Tag("red"))),))
    task, member = spec_of("t", B, "red"), spec_of("m", A, "red", active=False)
    assert reach(snapshot_of(task, member, red), OutsideParty(), EndpointParty(task), WEB).allowed


def test_a_host_s_own_interface_has_the_tags_of_its_profiles() -> None:
    red = Profile(ProfileId("red"), (Tag("red"),), (Rule(Action.ALLOW, Match(src_tag=Tag("red"))),))
    task = spec_of("t", B, "red")
    endpoint = HostEndpointId(HostName("host-b"), "eth0")
    world = replace(
        snapshot_of(task, red),
        host_endpoints={endpoint: HostEndpoint(endpoint, (A,), (ProfileId("red"),))},
    )
    assert reach(world, OutsideParty(), EndpointParty(task), WEB).allowed
    assert not reach(snapshot_of(task, red), OutsideParty(), EndpointParty(task), WEB).allowed


@pytest.mark.parametrize(
    ("action", "holds"),
    [
        pytest.param(Action.DENY, True, id="a denial holds outside of it, so in IPv4"),
        pytest.param(Action.ALLOW, False, id="an allow stays in the net's family"),
    ],
)
def test_a_network_of_the_other_family_to_be_outside_of(action: Action, holds: bool) -> None:
    rule = Rule(action, unless=Match(src_net=IPNetwork("fd80::/64")))
    assert matches(rule, WEB, NONE) is holds
    assert not matches(rule, first_packet(A6, B6, TCP, 80), NONE)
