"""How hosts sign what begins, as rendered; what it does to packets is a test on the kernel."""

import json
from collections.abc import Iterator, Mapping

import pytest

from calico.dataplane.nft.expr import (
    ACCEPT,
    RETURN,
    by_connection,
    dropping,
    goto,
    jump,
    label,
    labelled,
    matches,
    meta,
    opening,
    replying,
    tracked,
)
from calico.dataplane.render.beginnings import (
    ANSWERED,
    ARRIVING,
    BEGUN_BY_BOTH,
    COMPARING,
    ESTABLISHED,
    HALFWAY,
    LEAST_SIGNED,
    LEAVING,
    SIGNED,
    SIGNING,
    UNSIGNED,
    USUAL,
)
from calico.dataplane.render.chains import RELATED
from calico.dataplane.render.host import render_host
from calico.dataplane.render.policy import ADMITTED
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


def test_a_connection_that_was_answered_is_known_by_the_first_rule(
    chains: Mapping[str, Chain],
) -> None:
    first, *_ = rules_of(chains["forward"])
    assert first == [matches(tracked("state"), "established"), labelled(ANSWERED), ACCEPT]
    (others,) = (each for each in rules_of(chains["forward"]) if "vmap" in each[0])
    assert others == [by_connection(goto(ESTABLISHED), RELATED)]


def test_a_connection_counts_as_answered_only_by_what_needs_no_signature_and_was_compared(
    chains: Mapping[str, Chain],
) -> None:
    begun, compared, labelling, _ = rules_of(chains[ARRIVING])
    assert begun == [replying(negated=True), ACCEPT]
    assert compared == [jump(COMPARING)]
    without_signature = matches(meta("l4proto"), {"set": [6, 1, 58]})
    assert labelling == [without_signature, label(ANSWERED)]
    # What leaves is an answer if it goes to who began, unless it has to be changed.
    for each, field in zip(rules_of(chains[LEAVING])[:2], ("ttl", "hoplimit"), strict=True):
        assert each[:2] == [without_signature, replying()]
        assert field in json.dumps(each[2])
        assert each[3] == label(ANSWERED)


def test_an_opening_of_tcp_is_never_an_answer(chains: Mapping[str, Chain]) -> None:
    first, *_ = chains[ESTABLISHED].rules
    assert first == dropping(opening(), replying())


def test_what_comes_from_a_task_is_signed_before_its_policy_is_asked(
    chains: Mapping[str, Chain],
) -> None:
    *_, signed, policy, _ = rules_of(chains["from-task"])
    assert signed == [
        matches(meta("oifname"), "cali*", negated=True),
        matches(meta("l4proto"), {"set": [6, 1, 58]}, negated=True),
        jump(SIGNING),
    ]
    assert "vmap" in policy[0]


def test_errors_are_compared_and_signed_like_what_they_tell_of(
    chains: Mapping[str, Chain],
) -> None:
    rules = rules_of(chains[RELATED])
    ends = [each[-1] for each in rules]
    assert ends.index(jump(COMPARING)) < ends.index(ACCEPT)
    assert ends.index(jump(SIGNING)) == ends.index(ACCEPT) + 1
    only_errors, *_ = rules_of(chains[SIGNING])
    assert only_errors == [
        matches(meta("l4proto"), {"set": [1, 58]}),
        matches(tracked("state"), "related", negated=True),
        RETURN,
    ]
    # Routers tell errors as well, which is no answer of a task.
    assert all(label(ANSWERED) not in each for each in rules)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(SIGNING, SIGNED, id="what begins is signed"),
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
    local, begun, *signed = rules_of(chains[COMPARING])
    assert local == [matches(meta("iifname"), "cali*"), RETURN]
    assert begun == [replying(negated=True), RETURN]
    for each, kind, among in zip(signed, ("ip", "ip6"), ("@tasks4", "@tasks6"), strict=True):
        assert matches({"payload": {"protocol": kind, "field": "saddr"}}, among) in each
        assert each[-1] == goto(HALFWAY)
    both, judged = rules_of(chains[HALFWAY])
    assert both == [labelled(BEGUN_BY_BOTH), ACCEPT]
    assert judged == [goto("to-task")]


def test_what_a_policy_lets_begin_in_the_direction_of_answers_is_noted(
    chains: Mapping[str, Chain],
) -> None:
    noted, accepted = rules_of(chains[ADMITTED])
    assert noted == [replying(), label(BEGUN_BY_BOTH)]
    assert accepted == [ACCEPT]


def test_no_usual_packet_looks_signed_and_no_long_way_unsigns_one() -> None:
    assert max(USUAL, 128) < LEAST_SIGNED
    assert SIGNED - LEAST_SIGNED > 60
