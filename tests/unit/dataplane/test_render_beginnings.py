"""How hosts sign what begins, as rendered; what it does to packets is a test on the kernel."""

import json
from collections.abc import Iterator, Mapping

import pytest

from calico.dataplane.nft_expr import RETURN, by_connection, labelled, matches, meta, tracked
from calico.dataplane.render import render_host
from calico.dataplane.render_beginnings import (
    ARRIVING,
    BEGUN_BY_BOTH,
    BETWEEN_HOSTS,
    HALFWAY,
    LEAST_SIGNED,
    SIGNED,
    UNSIGNED,
    USUAL,
)
from calico.dataplane.render_chains import RELATED
from calico.dataplane.render_policy import ADMITTED
from calico.dataplane.state import Chain
from tests.dataplane_worlds import CONFIG, snapshot

Statements = list[Mapping[str, object]]


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


def test_tcp_and_echoes_are_asked_for_their_protocol_and_no_more(
    chains: Mapping[str, Chain],
) -> None:
    rules = rules_of(chains["forward"])
    asked = next(each for each in rules if each[-1] == {"jump": {"target": BETWEEN_HOSTS}})
    assert asked[:-1] == [matches(meta("l4proto"), {"set": [6, 1, 58]}, negated=True)]
    assert rules[rules.index(asked) + 1] == [by_connection(RELATED)]


def test_errors_are_signed_and_judged_like_what_they_tell_of(chains: Mapping[str, Chain]) -> None:
    only_errors, signed, *_ = rules_of(chains[RELATED])
    assert only_errors[-1] == {"drop": None}
    assert signed == [{"jump": {"target": BETWEEN_HOSTS}}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(BETWEEN_HOSTS, SIGNED, id="what begins is signed"),
        pytest.param(UNSIGNED, USUAL, id="what answers cannot look signed"),
    ],
)
def test_only_what_goes_to_a_task_is_written_into_in_both_families(
    chains: Mapping[str, Chain], name: str, value: int
) -> None:
    writing = [each for each in rules_of(chains[name]) if any(assigned(each))]
    assert [list(assigned(each)) for each in writing] == [[value], [value]]
    for each, kind, among in zip(writing, ("ip", "ip6"), ("@tasks4", "@tasks6"), strict=True):
        assert matches({"payload": {"protocol": kind, "field": "daddr"}}, among) in each


def test_a_signed_answer_of_a_task_is_judged_unless_both_sides_were_let_begin(
    chains: Mapping[str, Chain],
) -> None:
    beginning, *signed = rules_of(chains[ARRIVING])
    assert beginning == [matches(tracked("direction"), "reply", negated=True), RETURN]
    for each, kind, among in zip(signed, ("ip", "ip6"), ("@tasks4", "@tasks6"), strict=True):
        assert matches({"payload": {"protocol": kind, "field": "saddr"}}, among) in each
        assert each[-1] == {"goto": {"target": HALFWAY}}
    local, both, judged = rules_of(chains[HALFWAY])
    assert local == [matches(meta("iifname"), "cali*"), RETURN]
    assert both == [labelled(BEGUN_BY_BOTH), RETURN]
    assert judged == [{"goto": {"target": "to-task"}}]


def test_what_a_policy_lets_begin_in_the_direction_of_answers_is_noted(
    chains: Mapping[str, Chain],
) -> None:
    noted, accepted = rules_of(chains[ADMITTED])
    assert noted == [
        matches(tracked("direction"), "reply"),
        {"mangle": {"key": tracked("label"), "value": str(BEGUN_BY_BOTH)}},
    ]
    assert accepted == [{"accept": None}]


def test_no_usual_packet_looks_signed_and_no_long_way_unsigns_one() -> None:
    assert max(USUAL, 128) < LEAST_SIGNED
    assert SIGNED - LEAST_SIGNED > 60
