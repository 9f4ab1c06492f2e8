"""Calico's rules, one field at a time, as nftables statements."""

import json

import pytest
from netaddr import IPNetwork

from calico.closing import Direction, closing_reason
from calico.dataplane.nft.expr import dropping
from calico.dataplane.render.policy import (
    log_prefix,
    render_chain,
    render_rule,
    tag_set_name,
)
from calico.model import Action, Match, PortRange, Profile, ProfileId, Rule, Tag

RED = Tag("red")
V4, V6 = IPNetwork("10.0.0.0/8"), IPNetwork("fd00::/8")
NAME = ProfileId("p")


def field(protocol: str, name: str) -> object:
    return {"payload": {"protocol": protocol, "field": name}}


def meta(key: str) -> object:
    return {"meta": {"key": key}}


def equal(left: object, right: object, op: str = "==") -> object:
    return {"match": {"op": op, "left": left, "right": right}}


def unequal(left: object, right: object) -> object:
    return equal(left, right, "!=")


def prefix(address: str, length: int) -> object:
    return {"prefix": {"addr": address, "len": length}}


TCP, UDP = equal(meta("l4proto"), 6), equal(meta("l4proto"), 17)
ONLY4, ONLY6 = equal(meta("nfproto"), "ipv4"), equal(meta("nfproto"), "ipv6")
#: How a rule ends that lets in: counted, and on to what follows the policy.
ALLOWED = [{"counter": None}, {"goto": {"target": "admitted"}}]


def conditions(rule: Rule) -> list[list[object]]:
    """What each rendered rule asks for, without its verdict."""
    rules = [json.loads(each.expression) for each in render_rule(rule, Direction.INBOUND)]
    assert all(each[-2:] == ALLOWED for each in rules)
    return [each[:-2] for each in rules]


@pytest.mark.parametrize(
    ("match", "unless", "expected"),
    [
        pytest.param(Match(), Match(), [[]], id="nothing asked holds for both families"),
        pytest.param(Match(protocol=6), Match(), [[TCP]], id="protocol"),
        pytest.param(
            Match(), Match(protocol=6), [[unequal(meta("l4proto"), 6)]], id="not a protocol"
        ),
        pytest.param(
            Match(src_tag=RED),
            Match(),
            [
                [equal(field("ip", "saddr"), "@" + tag_set_name(RED, 4))],
                [equal(field("ip6", "saddr"), "@" + tag_set_name(RED, 6))],
            ],
            id="source tag in both families",
        ),
        pytest.param(
            Match(),
            Match(dst_tag=RED),
            [
                [unequal(field("ip", "daddr"), "@" + tag_set_name(RED, 4))],
                [unequal(field("ip6", "daddr"), "@" + tag_set_name(RED, 6))],
            ],
            id="not a destination tag",
        ),
        pytest.param(
            Match(src_net=V4),
            Match(),
            [[equal(field("ip", "saddr"), prefix("10.0.0.0", 8))]],
            id="a v4 net does not open v6",
        ),
        pytest.param(
            Match(dst_net=V6),
            Match(),
            [[equal(field("ip6", "daddr"), prefix("fd00::", 8))]],
            id="a v6 net does not open v4",
        ),
        pytest.param(
            Match(src_net=IPNetwork("10.1.2.3/32")),
            Match(),
            [[equal(field("ip", "saddr"), "10.1.2.3")]],
            id="a single address",
        ),
        pytest.param(
            Match(src_net=IPNetwork("10.1.2.3/8")),
            Match(),
            [[equal(field("ip", "saddr"), prefix("10.0.0.0", 8))]],
            id="host bits of a net are dropped",
        ),
        pytest.param(
            Match(src_net=IPNetwork("0.0.0.0/0")), Match(), [[ONLY4]], id="every v4 address"
        ),
        pytest.param(
            Match(), Match(src_net=IPNetwork("0.0.0.0/0")), [], id="no v4 address, and no v6"
        ),
        pytest.param(
            Match(),
            Match(src_net=V4),
            [[unequal(field("ip", "saddr"), prefix("10.0.0.0", 8))]],
            id="an allow outside a v4 net stays in v4",
        ),
        pytest.param(Match(src_net=V4, dst_net=V6), Match(), [], id="nets of two families"),
        pytest.param(
            Match(src_net=V4, src_tag=RED),
            Match(),
            [
                [
                    equal(field("ip", "saddr"), prefix("10.0.0.0", 8)),
                    equal(field("ip", "saddr"), "@" + tag_set_name(RED, 4)),
                ]
            ],
            id="net and tag must both hold",
        ),
        pytest.param(
            Match(protocol=17, dst_ports=(PortRange(53, 53), PortRange(5, 9), PortRange(8, 12))),
            Match(),
            [[UDP, equal(field("th", "dport"), {"set": [*range(5, 13), 53]})]],
            id="ports, overlapping ranges joined",
        ),
        pytest.param(
            Match(protocol=6),
            Match(src_ports=(PortRange(1, 1023),)),
            [[TCP, unequal(field("th", "sport"), {"range": [1, 1023]})]],
            id="not these source ports",
        ),
        pytest.param(
            Match(protocol=6, dst_ports=(PortRange(80, 80), PortRange(1, 50), PortRange(90, 200))),
            Match(),
            [
                [TCP, equal(field("th", "dport"), 80)],
                [TCP, equal(field("th", "dport"), {"range": [1, 50]})],
                [TCP, equal(field("th", "dport"), {"range": [90, 200]})],
            ],
            id="a rule for each wide range",
        ),
        pytest.param(
            Match(protocol=6),
            Match(dst_ports=(PortRange(80, 80), PortRange(1, 50), PortRange(90, 200))),
            [
                [
                    TCP,
                    unequal(field("th", "dport"), 80),
                    unequal(field("th", "dport"), {"range": [1, 50]}),
                    unequal(field("th", "dport"), {"range": [90, 200]}),
                ]
            ],
            id="in none of the wide ranges",
        ),
        pytest.param(
            Match(protocol=1, icmp_type=8),
            Match(),
            [[ONLY4, equal(meta("l4proto"), 1), equal(field("icmp", "type"), 8)]],
            id="an ICMP type is v4 only",
        ),
        pytest.param(
            Match(protocol=58, icmp_type=0),
            Match(),
            [[ONLY6, equal(meta("l4proto"), 58), equal(field("icmpv6", "type"), 0)]],
            id="an ICMPv6 type is v6 only, and 0 is a type",
        ),
        pytest.param(
            Match(protocol=1),
            Match(icmp_type=3, icmp_code=4),
            [
                [
                    ONLY4,
                    equal(meta("l4proto"), 1),
                    unequal(
                        {"concat": [field("icmp", "type"), field("icmp", "code")]},
                        {"set": [{"concat": [3, 4]}]},
                    ),
                ]
            ],
            id="not an ICMP type and code as a pair",
        ),
    ],
)
def test_each_condition_of_an_allow(
    match: Match, unless: Match, expected: list[list[object]]
) -> None:
    assert conditions(Rule(Action.ALLOW, match, unless)) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(Rule(Action.ALLOW, ip_version=4), [[ONLY4]], id="one family"),
        pytest.param(
            Rule(Action.ALLOW, Match(src_net=V4), ip_version=6), [], id="a net of the other family"
        ),
        pytest.param(
            Rule(Action.ALLOW, Match(protocol=1, icmp_type=8), ip_version=6),
            [],
            id="an ICMP type of the other family",
        ),
    ],
)
def test_a_rule_of_one_family_stays_there(rule: Rule, expected: list[list[object]]) -> None:
    assert conditions(rule) == expected


def test_a_denial_outside_a_v4_net_holds_for_v6_too() -> None:
    rules = render_rule(Rule(Action.DENY, unless=Match(src_net=V4)), Direction.INBOUND)
    asked = [json.loads(rule.expression)[0] for rule in rules]
    assert asked == [unequal(field("ip", "saddr"), prefix("10.0.0.0", 8)), ONLY6]


@pytest.mark.parametrize(
    ("action", "direction", "verdict"),
    [
        pytest.param(Action.ALLOW, Direction.INBOUND, ALLOWED, id="allow in"),
        pytest.param(
            Action.ALLOW,
            Direction.OUTBOUND,
            [{"counter": None}, {"goto": {"target": "to-task"}}],
            id="allow out still asks the receiver",
        ),
        pytest.param(
            Action.DENY, Direction.INBOUND, [{"counter": None}, {"drop": None}], id="deny"
        ),
        pytest.param(
            Action.LOG,
            Direction.INBOUND,
            [
                {"limit": {"rate": 10, "per": "second", "burst": 20}},
                {"log": {"prefix": "a_b: "}},
            ],
            id="log goes on, at a bounded rate",
        ),
    ],
)
def test_each_action(action: Action, direction: Direction, verdict: list[object]) -> None:
    (rule,) = render_rule(Rule(action, log_prefix="a b"), direction)
    assert json.loads(rule.expression) == verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "calico-packet: ", id="none"),
        pytest.param('x"; drop\n', "x___drop_: ", id="nothing but Calico's alphabet"),
        pytest.param("y" * 40, "y" * 27 + ": ", id="cut"),
    ],
)
def test_a_log_prefix_is_harmless(text: str, expected: str) -> None:
    assert log_prefix(text) == expected


def profile(*rules: Rule, problem: str = "") -> Profile:
    return Profile(NAME, inbound=rules, outbound=(Rule(Action.ALLOW),), problem=problem)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(profile(problem="unknown key"), "unknown key", id="malformed"),
        pytest.param(profile(Rule(Action.NEXT_TIER)), "next tier", id="next tier"),
        pytest.param(
            profile(Rule(Action.ALLOW, Match(src_selector="all()"))), "selector", id="selector"
        ),
        pytest.param(
            profile(Rule(Action.ALLOW, unless=Match(dst_selector=""))),
            "selector",
            id="empty negated selector",
        ),
        pytest.param(
            profile(Rule(Action.ALLOW, Match(dst_ports=(PortRange(1, 2),)))),
            "ports without a protocol",
            id="ports of no protocol",
        ),
        pytest.param(
            profile(Rule(Action.ALLOW, Match(protocol=1, dst_ports=(PortRange(1, 2),)))),
            "ports without a protocol",
            id="ports of ICMP",
        ),
        pytest.param(
            profile(Rule(Action.ALLOW, Match(icmp_type=8))),
            "ICMP type without the protocol",
            id="ICMP type of no protocol",
        ),
        pytest.param(
            profile(Rule(Action.ALLOW, Match(protocol=1, icmp_code=0))),
            "ICMP code without an ICMP type",
            id="ICMP code without type",
        ),
    ],
)
def test_what_cannot_be_enforced_closes_from_there_on(broken: Profile | None, reason: str) -> None:
    before = Profile(ProfileId("before"), inbound=(Rule(Action.ALLOW, Match(protocol=6)),))
    after = Profile(ProfileId("after"), inbound=(Rule(Action.ALLOW),))
    profiles = {each.id: each for each in (before, broken, after) if each is not None}
    chain = render_chain([before.id, NAME, after.id], profiles, Direction.INBOUND)
    assert reason in closing_reason(NAME, broken, Direction.INBOUND)
    assert len(chain.problems) == 1
    assert reason in chain.problems[0]
    allowed, end = chain.chain.rules
    assert json.loads(allowed.expression) == [TCP, *ALLOWED]
    assert end == dropping()


def test_a_rule_that_closes_one_direction_leaves_the_other() -> None:
    profiles = {NAME: profile(Rule(Action.NEXT_TIER))}
    outbound = render_chain([NAME], profiles, Direction.OUTBOUND)
    assert outbound.problems == ()
    assert len(outbound.chain.rules) == 2


def test_profiles_and_rules_keep_their_order_and_end_in_a_drop() -> None:
    first = Profile(
        ProfileId("1"), inbound=(Rule(Action.DENY, Match(protocol=6)), Rule(Action.ALLOW))
    )
    second = Profile(ProfileId("2"), inbound=(Rule(Action.ALLOW, Match(protocol=17)),))
    profiles = {first.id: first, second.id: second}
    forwards = render_chain([first.id, second.id], profiles, Direction.INBOUND).chain
    backwards = render_chain([second.id, first.id], profiles, Direction.INBOUND).chain
    one, two, three, end = forwards.rules
    assert backwards.rules == (three, one, two, end)
    assert end == dropping()
    assert forwards.name != backwards.name


def test_an_endpoint_without_profiles_is_closed() -> None:
    assert render_chain([], {}, Direction.INBOUND).chain.rules == (dropping(),)
