"""Rules and tags: to the letter, or closed with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPNetwork

from calico import codec
from calico.errors import InvalidValue
from calico.model import Action, Match, PortRange, Profile, ProfileId, Rule, Tag
from tests.unit.calico.samples import sample

ID = ProfileId("web")


def decode_rule(rule: dict[str, Any]) -> Profile:
    return codec.decode_profile(ID, {"rules": json.dumps({"inbound_rules": [rule]})})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({}, Rule(Action.ALLOW), id="allow is the default"),
        pytest.param({"action": "deny"}, Rule(Action.DENY), id="deny"),
        pytest.param(
            {"action": "log", "log_prefix": "seen it"},
            Rule(Action.LOG, log_prefix="seen_it"),
            id="log with a clean prefix",
        ),
        pytest.param({"src_tag": "a"}, Rule(Action.ALLOW, Match(src_tag=Tag("a"))), id="tag"),
        pytest.param(
            {"ip_version": 6, "!dst_net": "fd80::/64"},
            Rule(Action.ALLOW, unless=Match(dst_net=IPNetwork("fd80::/64")), ip_version=6),
            id="negated net",
        ),
        pytest.param(
            {"protocol": "tcp", "dst_ports": [80, "8000:8080", "443"], "!src_ports": [1]},
            Rule(
                Action.ALLOW,
                Match(
                    protocol=6,
                    dst_ports=(PortRange(80, 80), PortRange(8000, 8080), PortRange(443, 443)),
                ),
                Match(src_ports=(PortRange(1, 1),)),
            ),
            id="ports",
        ),
        pytest.param({"protocol": 132}, Rule(Action.ALLOW, Match(protocol=132)), id="number"),
        pytest.param({"protocol": "50"}, Rule(Action.ALLOW, Match(protocol=50)), id="text number"),
        pytest.param(
            {"protocol": "icmp", "icmp_type": 0},
            Rule(Action.ALLOW, Match(protocol=1, icmp_type=0)),
            id="echo reply is type 0",
        ),
        pytest.param(
            {"protocol": "icmpv6", "!icmp_type": 8, "!icmp_code": 0},
            Rule(Action.ALLOW, Match(protocol=58), Match(icmp_type=8, icmp_code=0)),
            id="negated ICMP",
        ),
        pytest.param(
            {"protocol": "icmp", "icmp_type": 254, "icmp_code": 255},
            Rule(Action.ALLOW, Match(protocol=1, icmp_type=254, icmp_code=255)),
            id="the highest type and code",
        ),
    ],
)
def test_a_rule_is_read(raw: dict[str, Any], expected: Rule) -> None:
    assert decode_rule(raw) == Profile(ID, inbound=(expected,))


V4, OTHER_V4, V6 = IPNetwork("10.0.0.0/8"), IPNetwork("11.0.0.0/8"), IPNetwork("fd80::/64")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"src_nets": ["10.0.0.0/8"]}, [(V4, None)], id="a list of one"),
        pytest.param(
            {"src_nets": ["10.0.0.0/8", "11.0.0.0/8"]}, [(V4, None), (OTHER_V4, None)], id="two"
        ),
        pytest.param(
            {"src_net": "10.0.0.0/8", "src_nets": ["11.0.0.0/8", "10.0.0.0/8"]},
            [(V4, None), (OTHER_V4, None)],
            id="beside the single one",
        ),
        pytest.param(
            {"src_nets": ["10.0.0.0/8", "fd80::/64"], "dst_nets": ["11.0.0.0/8", "fd80::/64"]},
            [(V4, OTHER_V4), (V6, V6)],
            id="each family to its own",
        ),
        pytest.param(
            {"src_nets": ["10.0.0.0/8", "fd80::/64"], "ip_version": 6},
            [(V6, None)],
            id="of one family",
        ),
    ],
)
@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_list_of_networks_is_as_many_rules(
    raw: dict[str, Any], expected: list[tuple[IPNetwork | None, ...]], action: str
) -> None:
    profile = decode_rule(raw | {"action": action})
    assert not profile.problem
    assert [(each.match.src_net, each.match.dst_net) for each in profile.inbound] == expected
    assert {each.action.value for each in profile.inbound} == {action}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"!src_nets": ["10.0.0.0/8"]}, Match(src_net=V4), id="a list of one"),
        pytest.param(
            {"!dst_net": "10.0.0.0/8", "!dst_nets": ["10.0.0.0/8"]}, Match(dst_net=V4), id="twice"
        ),
    ],
)
def test_one_network_to_be_outside_of_may_stand_in_a_list(
    raw: dict[str, Any], expected: Match
) -> None:
    assert decode_rule(raw) == Profile(ID, inbound=(Rule(Action.ALLOW, unless=expected),))


@pytest.mark.parametrize(
    ("protocol", "number"),
    [
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("icmpv6", 58),
        ("sctp", 132),
        ("udplite", 136),
        (1, 1),
        (255, 255),
        ("1", 1),
        ("132", 132),
    ],
)
def test_a_protocol_is_a_name_or_a_number(protocol: object, number: int) -> None:
    for raw, expected in (
        ({"protocol": protocol}, Rule(Action.ALLOW, Match(protocol=number))),
        ({"!protocol": protocol}, Rule(Action.ALLOW, unless=Match(protocol=number))),
    ):
        assert decode_rule(raw) == Profile(ID, inbound=(expected,))


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp", "udplite", 6, "132"])
@pytest.mark.parametrize("name", ["src_ports", "dst_ports", "!src_ports", "!dst_ports"])
def test_ports_are_read_of_every_protocol_that_has_them(protocol: object, name: str) -> None:
    profile = decode_rule({"protocol": protocol, name: [1, "2:3", "4"]})
    assert not profile.problem
    [rule] = profile.inbound
    fields = rule.unless if name.startswith("!") else rule.match
    ports = fields.src_ports if name.endswith("src_ports") else fields.dst_ports
    assert ports == (PortRange(1, 1), PortRange(2, 3), PortRange(4, 4))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        pytest.param('{"role": "db", "a": ""}', (("a", ""), ("role", "db")), id="labels"),
        pytest.param("{}", (), id="none"),
        pytest.param('{"role": 1}', (), id="bad ones are none, as for Felix"),
        pytest.param("junk", (), id="no JSON"),
    ],
)
def test_the_labels_of_a_profile_are_read_and_close_nothing(
    text: str, labels: tuple[tuple[str, str], ...]
) -> None:
    profile = codec.decode_profile(ID, {"rules": "{}", "labels": text})
    assert profile == Profile(ID, labels=labels)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        pytest.param(
            {"action": "deny", "src_nets": ["10.0.0.0/8", "fd80::/64"], "!dst_net": "fd80::/64"},
            "at once",
            id="a denial that a net of the other family does not limit",
        ),
        pytest.param({"action": "next-tier"}, "next-tier", id="next tier"),
        pytest.param({"action": "pass"}, "pass", id="unknown action"),
        pytest.param({"src_nets": []}, "src_nets", id="no nets at all"),
        pytest.param({"src_nets": "10.0.0.0/8"}, "src_nets", id="nets that are no list"),
        pytest.param({"!src_nets": ["10.0.0.0/8", "11.0.0.0/8"]}, "!src_nets", id="not in nets"),
        pytest.param(
            {"!dst_net": "10.0.0.0/8", "!dst_nets": ["11.0.0.0/8"]}, "!dst_nets", id="not in both"
        ),
        pytest.param({"src_namespace": "x"}, "src_namespace", id="a field of v3"),
        pytest.param({"src_selector": "all()"}, "selector", id="selector"),
        pytest.param({"!dst_selector": "has(a)"}, "selector", id="negated selector"),
        pytest.param({"src_tag": None}, "src_tag", id="null would match more"),
        pytest.param({"dst_net": None}, "dst_net", id="null net"),
        pytest.param({"src_tag": "a b"}, "src_tag", id="tag"),
        pytest.param({"src_net": "10.0.0"}, "10.0.0", id="net"),
        pytest.param({"protocol": "gre"}, "gre", id="protocol by an unknown name"),
        pytest.param({"protocol": 0}, "protocol", id="protocol 0"),
        pytest.param({"protocol": True}, "protocol", id="protocol as a truth"),
        pytest.param({"dst_ports": [80]}, "ports", id="ports without protocol"),
        pytest.param({"protocol": "icmp", "dst_ports": [80]}, "ports", id="ports of ICMP"),
        pytest.param({"protocol": "tcp", "dst_ports": []}, "dst_ports", id="no ports at all"),
        pytest.param({"protocol": "tcp", "dst_ports": [65536]}, "65536", id="port too high"),
        pytest.param({"protocol": "tcp", "dst_ports": ["9:8"]}, "9:8", id="range turned round"),
        pytest.param({"protocol": "tcp", "dst_ports": ["1:2:3"]}, "1:2:3", id="three ends"),
        pytest.param({"protocol": "tcp", "dst_ports": [-1]}, "-1", id="negative port"),
        pytest.param({"protocol": "tcp", "dst_ports": 80}, "dst_ports", id="no list"),
        pytest.param({"icmp_type": 8}, "icmp_type", id="ICMP type alone"),
        pytest.param({"protocol": "icmp", "icmp_code": 0}, "icmp_code", id="code without type"),
        pytest.param({"protocol": "icmp", "icmp_type": 255}, "icmp_type", id="type 255"),
        pytest.param(
            {"protocol": "icmp", "icmp_type": 1, "icmp_code": 256}, "icmp_code", id="code 256"
        ),
        pytest.param({"ip_version": 5}, "ip_version", id="version"),
        pytest.param({"ip_version": 6, "src_net": "10.0.0.0/8"}, "at once", id="two families"),
        pytest.param({"src_net": "10.0.0.0/8", "dst_net": "::/0"}, "at once", id="two nets"),
        pytest.param({"log_prefix": 5}, "log_prefix", id="prefix"),
    ],
)
def test_a_rule_that_cannot_be_enforced_closes_the_profile(raw: dict[str, Any], named: str) -> None:
    profile = decode_rule(raw)
    assert named in profile.problem
    assert "inbound rule 1" in profile.problem
    assert (profile.inbound, profile.outbound) == ((), ())


@pytest.mark.parametrize(
    ("leaves", "named"),
    [
        pytest.param({}, "no rules", id="nothing"),
        pytest.param({"tags": '["web"]'}, "no rules", id="tags alone"),
        pytest.param({"rules": "{"}, "JSON", id="no JSON"),
        pytest.param({"rules": "[]"}, "object", id="no object"),
        pytest.param({"rules": '{"inbound": []}'}, "inbound", id="the wrong documentation"),
        pytest.param({"rules": '{"inbound_rules": {}}'}, "list", id="no list"),
        pytest.param({"rules": '{"inbound_rules": [1]}'}, "object", id="no rule"),
        pytest.param({"rules": "{}", "tags": "{}"}, "tags", id="no tags"),
        pytest.param({"rules": "{}", "tags": '["a b"]'}, "tag", id="no tag"),
    ],
)
def test_a_profile_without_good_leaves_is_closed(leaves: dict[str, str], named: str) -> None:
    profile = codec.decode_profile(ID, leaves)
    assert named in profile.problem
    assert (profile.inbound, profile.outbound) == ((), ())


def test_what_the_go_calicoctl_writes_of_a_profile_without_tags_and_labels_closes_nothing() -> None:
    leaves = {"tags": "null", "labels": "null", "rules": '{"outbound_rules":[{"action":"allow"}]}'}
    assert codec.decode_profile(ID, leaves) == Profile(ID, outbound=(Rule(Action.ALLOW),))
    assert codec.decode_labels("null") == ()


def test_one_bad_rule_closes_also_the_good_ones() -> None:
    rules = {"inbound_rules": [{"action": "allow"}], "outbound_rules": [{"what": 1}]}
    profile = codec.decode_profile(ID, {"rules": json.dumps(rules), "tags": '["web"]'})
    assert (profile.inbound, profile.outbound) == ((), ())
    assert profile.tags == ("web",)


def test_a_direction_may_be_left_out_and_the_name_repeated() -> None:
    assert codec.decode_profile(ID, {"rules": '{"id": "web"}'}) == Profile(ID)


def test_the_profiles_of_calico_mesos_are_read_and_written_alike() -> None:
    given = sample("v1-profile")["keys"]
    for name in ("star-1", "public", "default_calico-host-01"):
        directory = f"/calico/v1/policy/profile/{name}"
        leaves = {leaf: json.dumps(given[f"{directory}/{leaf}"]) for leaf in ("tags", "rules")}
        profile = codec.decode_profile(ProfileId(name), leaves)
        assert not profile.problem
        assert profile.tags == (name,)
        assert json.loads(codec.encode_rules(profile)) == given[f"{directory}/rules"]
        assert json.loads(codec.encode_tags(profile)) == given[f"{directory}/tags"]


def test_a_rule_set_with_selectors_is_recognised_and_closed() -> None:
    text = json.dumps(sample("v1-rules-all-fields"))
    assert "src_selector" in codec.decode_profile(ID, {"rules": text}).problem


tags = st.from_regex(r"[a-zA-Z0-9_.-]{1,12}", fullmatch=True).map(Tag)
bounds = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted)
ports = st.lists(bounds.map(lambda ends: PortRange(*ends)), max_size=3).map(tuple)
nets = st.ip_addresses(v=4).map(lambda each: IPNetwork(f"{each}/32"))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    def match() -> Match:
        return Match(
            src_tag=draw(st.none() | tags),
            dst_tag=draw(st.none() | tags),
            src_net=draw(st.none() | nets),
            dst_net=draw(st.none() | nets),
            src_ports=draw(ports),
            dst_ports=draw(ports),
        )

    plain = match()
    protocol = draw(st.sampled_from([6, 17]))
    return Rule(
        action=draw(st.sampled_from([Action.ALLOW, Action.DENY, Action.LOG])),
        match=Match(
            protocol,
            plain.src_tag,
            plain.dst_tag,
            plain.src_net,
            plain.dst_net,
            plain.src_ports,
            plain.dst_ports,
        ),
        unless=match(),
        ip_version=draw(st.sampled_from([None, 4])),
        log_prefix=draw(st.sampled_from(["", "seen"])),
    )


rule_lists = st.lists(rules(), max_size=3).map(tuple)


@given(rule_lists, rule_lists, st.lists(tags, unique=True, max_size=3).map(tuple))
def test_what_is_written_is_read_back(
    inbound: tuple[Rule, ...], outbound: tuple[Rule, ...], own: tuple[Tag, ...]
) -> None:
    profile = Profile(ID, own, inbound, outbound)
    leaves = {"rules": codec.encode_rules(profile), "tags": codec.encode_tags(profile)}
    assert codec.decode_profile(ID, leaves) == profile


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["inbound_rules", "action", "src_net", "dst_ports", "protocol", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={"rules": junk, "tags": junk}))
def test_no_stored_value_makes_reading_fail(leaves: dict[str, Any]) -> None:
    texts = {leaf: json.dumps(value) for leaf, value in leaves.items()}
    profile = codec.decode_profile(ID, texts)
    assert not profile.problem or not (profile.inbound or profile.outbound)


@given(st.text())
def test_no_stored_text_makes_reading_fail(text: str) -> None:
    codec.decode_profile(ID, {"rules": text, "tags": text})
    with pytest.raises(InvalidValue):
        codec.decode_rules("[" + text)
