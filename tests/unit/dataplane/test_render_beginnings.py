"""How hosts sign what begins, as rendered; what it does to packets is a test on the kernel."""

import json
from collections.abc import Iterator, Mapping

import pytest

from calico.dataplane.nft_expr import RETURN, by_connection, matches, meta, tracked
from calico.dataplane.render import render_host
from calico.dataplane.render_beginnings import (
    ARRIVING,
    BEGUN_BY_BOTH,
    BETWEEN_HOSTS,
    LEAST_SIGNED,
    LEAVING,
    SIGNED,
    UNSIGNED,
    USUAL,
)
from calico.dataplane.render_chains import RELATED
from calico.dataplane.render_policy import ADMITTED
from calico.dataplane.state import Chain
from tests.dataplane_worlds import CONFIG, snapshot

Statements = list[Mapping[str, object]]
TCP = 6


@pytest.fixture
def chains() -> Mapping[str, Chain]:
    return render_host(snapshot([]), CONFIG).state.chains


def rules_of(chain: Chain) -> list[Statements]:
    return [json.loads(each.expression) for each in chain.rules]


def assigned(statements: Statements) -> Iterator[object]:
    """What a rule writes into packets."""
    for each in statements:
        match each:
            case {"mangle": {"key": {"payload": {"field": "ttl" | "hoplimit"}}, "value": value}}:
                yield value


def test_tcp_pays_one_comparison_before_its_connection_is_looked_at(
    chains: Mapping[str, Chain],
) -> None:
    rules = rules_of(chains["forward"])
    asked = next(each for each in rules if each[-1] == {"jump": {"target": BETWEEN_HOSTS}})
    assert asked[:-1] == [matches(meta("l4proto"), TCP, negated=True)]
    assert rules[rules.index(asked) + 1] == [by_connection(RELATED)]


def test_of_icmp_only_errors_are_signed(chains: Mapping[str, Chain]) -> None:
    first, *_ = rules_of(chains[BETWEEN_HOSTS])
    assert first == [
        matches(meta("l4proto"), {"set": [1, 58]}),
        matches(tracked("state"), "related", negated=True),
        RETURN,
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(LEAVING, SIGNED, id="what begins is signed"),
        pytest.param(UNSIGNED, USUAL, id="what answers cannot look signed"),
        pytest.param(ARRIVING, USUAL, id="what arrives does not look signed to a task"),
    ],
)
def test_hop_limits_are_written_in_both_families(
    chains: Mapping[str, Chain], name: str, value: int
) -> None:
    written = [found for each in rules_of(chains[name]) for found in assigned(each)]
    assert written == [value, value]


def test_only_packets_between_tasks_are_touched(chains: Mapping[str, Chain]) -> None:
    for name, side in ((LEAVING, "daddr"), (ARRIVING, "saddr")):
        rules = rules_of(chains[name])
        asked = [
            [matches({"payload": {"protocol": kind, "field": side}}, among, negated=True), RETURN]
            for kind, among in (("ip", "@tasks4"), ("ip6", "@tasks6"))
        ]
        first_written = next(place for place, each in enumerate(rules) if any(assigned(each)))
        assert all(each in rules[:first_written] for each in asked)


def test_a_signed_answer_is_judged_unless_both_sides_were_let_begin(
    chains: Mapping[str, Chain],
) -> None:
    *_, both, judged = rules_of(chains[ARRIVING])
    assert both[-1] == RETURN
    assert str(BEGUN_BY_BOTH) in json.dumps(both)
    assert judged == [
        matches(tracked("direction"), "reply"),
        {"goto": {"target": "to-task"}},
    ]
    noted, accepted = rules_of(chains[ADMITTED])
    assert noted == [
        matches(tracked("direction"), "reply"),
        {"mangle": {"key": tracked("label"), "value": str(BEGUN_BY_BOTH)}},
    ]
    assert accepted == [{"accept": None}]


def test_no_usual_packet_looks_signed_and_no_long_way_unsigns_one() -> None:
    assert max(USUAL, 128) < LEAST_SIGNED
    assert SIGNED - LEAST_SIGNED > 60
