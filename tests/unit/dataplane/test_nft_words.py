"""Rules and elements as lines for people."""

import pytest
from netaddr import IPNetwork

from calico.closing import Direction
from calico.dataplane.nft.expr import ACCEPT, dropping, matches, meta, rule, strays
from calico.dataplane.nft.words import element_text, rule_text
from calico.dataplane.render.host import render_host
from calico.dataplane.render.policy import render_rule, tag_set_name
from calico.dataplane.state import NftRule
from calico.model import Action, Match, PortRange, Rule, Tag
from tests.dataplane_worlds import CONFIG, group, openings, snapshot, spec

RED = Tag("red")
NAMES = {tag_set_name(RED, 4): "tag red"}


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        pytest.param(Rule(Action.ALLOW), "goto admitted", id="everything"),
        pytest.param(
            Rule(
                Action.ALLOW,
                Match(protocol=6, src_tag=RED, dst_ports=(PortRange(80, 80),)),
                ip_version=4,
            ),
            "ip saddr tag red tcp dport 80 goto admitted",
            id="a tag and a port",
        ),
        pytest.param(
            Rule(Action.DENY, Match(protocol=17, src_ports=(PortRange(53, 53), PortRange(80, 80)))),
            "udp sport { 53, 80 } drop",
            id="ports",
        ),
        pytest.param(
            Rule(Action.DENY, Match(protocol=17, src_ports=(PortRange(1, 1023),))),
            "udp sport 1-1023 drop",
            id="a range of ports",
        ),
        pytest.param(
            Rule(Action.DENY, Match(src_net=IPNetwork("10.0.0.0/8")), Match(protocol=6)),
            "ip saddr 10.0.0.0/8 meta l4proto != tcp drop",
            id="a net and a negation",
        ),
        pytest.param(
            Rule(Action.DENY, Match(protocol=1, icmp_type=8, icmp_code=0)),
            "meta nfproto ipv4 icmp type . icmp code 8 . 0 drop",
            id="an ICMP type and code",
        ),
        pytest.param(
            Rule(Action.LOG),
            'limit rate 10/second log prefix "calico-packet: "',
            id="a log",
        ),
    ],
)
def test_a_rule_is_told_in_nftables_words(asked: Rule, text: str) -> None:
    first, *_ = render_rule(asked, Direction.INBOUND)
    assert rule_text(first, NAMES) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param('[{"xt": null}, {"accept": null}]', '{"xt": null} accept', id="unknown"),
        pytest.param("[1]", "[1]", id="no statement"),
        pytest.param("{", "{", id="no JSON"),
    ],
)
def test_what_is_not_ours_is_told_as_it_is(text: str, told: str) -> None:
    assert rule_text(NftRule("foreign", text)) == told


def test_a_rule_of_which_only_the_name_is_known_is_told_by_it() -> None:
    assert "'mine'" in rule_text(NftRule("mine", ""))


def test_every_rule_that_is_ever_written_has_words() -> None:
    world = snapshot(
        [spec("web.1", "red", "app", addresses=["10.9.0.1", "fd00:9::1"])],
        [group("red"), openings("app", "red", 80, 443)],
    )
    rules = [
        each for chain in render_host(world, CONFIG).state.chains.values() for each in chain.rules
    ]
    assert len(rules) > 20
    for each in rules:
        told = rule_text(each)
        assert told
        assert not any(mark in told for mark in '{}"[]') or "{ " in told, told
        assert "null" not in told


def test_a_rule_without_conditions_is_its_verdict() -> None:
    assert rule_text(dropping()) == "drop"
    assert rule_text(dropping(strays())) == "fib saddr . mark . iif oif 0 drop"
    assert rule_text(rule(matches(meta("iifname"), "cali*"), ACCEPT)) == "meta iifname cali* accept"


@pytest.mark.parametrize(
    ("element", "text"),
    [
        pytest.param("10.0.0.1", "10.0.0.1", id="address"),
        pytest.param(("prefix", "10.0.0.0", 8), "10.0.0.0/8", id="prefix"),
        pytest.param(("range", 1, 9), "1-9", id="range"),
        pytest.param(("concat", "cali1", "10.0.0.1"), "cali1 . 10.0.0.1", id="concatenation"),
        pytest.param(("10.0.0.1", ("goto", "in-x")), "10.0.0.1 : goto in-x", id="verdict"),
        pytest.param(("10.0.0.1", ("drop",)), "10.0.0.1 : drop", id="verdict without a chain"),
    ],
)
def test_an_element_is_told_as_nftables_would(element: object, text: str) -> None:
    assert element_text(element) == text
