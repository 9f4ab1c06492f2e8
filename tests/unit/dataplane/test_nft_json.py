"""Our table to libnftables' JSON and back."""

import json
from typing import Any

import pytest

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.expr import ACCEPT, dropping, rule
from calico.dataplane.nft.library_json import FOREIGN, decode_drops, decode_table, encode_commit
from calico.dataplane.state import BaseHook, Chain, NftRule, NftSet

FORWARD = BaseHook("filter", "forward", 0, "drop")


def commands(commit: CommitTable) -> list[tuple[str, str, dict[str, Any]]]:
    """Each command as verb, noun and body."""
    return [
        (verb, noun, body)
        for command in json.loads(encode_commit(commit))["nftables"]
        for verb, what in command.items()
        for noun, body in what.items()
    ]


def spoken(commit: CommitTable) -> list[tuple[str, str, str]]:
    """Each command as verb, noun and the name it is about."""
    return [
        (verb, noun, body["chain"] if noun == "rule" else body["name"])
        for verb, noun, body in commands(commit)
    ]


def test_a_commit_keeps_the_order_of_dependence() -> None:
    before = NftSet("out", ("ifname",), frozenset({("cali1", ("goto", "old"))}), verdicts=True)
    after = NftSet("out", ("ifname",), frozenset({("cali1", ("goto", "new"))}), verdicts=True)
    commit = CommitTable(
        chains=(Chain("forward", (dropping(),), FORWARD), Chain("new", (rule(ACCEPT),))),
        sets=(after, NftSet("tag", ("ipv4_addr",), frozenset({"10.0.0.1"}))),
        previous_sets=(before,),
        removed_chains=("old",),
        removed_sets=("gone",),
    )
    assert spoken(commit) == [
        ("add", "table", "marathon-calico"),
        ("add", "chain", "forward"),
        ("add", "chain", "new"),
        ("add", "set", "tag"),
        ("flush", "chain", "forward"),
        ("flush", "chain", "new"),
        ("flush", "chain", "old"),
        ("delete", "element", "out"),
        ("add", "element", "out"),
        ("add", "element", "tag"),
        ("add", "rule", "forward"),
        ("add", "rule", "new"),
        ("delete", "set", "gone"),
        ("delete", "chain", "old"),
    ]


def test_a_base_chain_is_flushed_and_never_deleted() -> None:
    commit = CommitTable(chains=(Chain("forward", (dropping(),), FORWARD),))
    verbs = [verb for verb, noun, _ in commands(commit) if noun == "chain"]
    assert verbs == ["add", "flush"]
    (body,) = (b for verb, noun, b in commands(commit) if (verb, noun) == ("add", "chain"))
    assert body["policy"] == "drop"


def test_only_the_difference_of_a_known_set_is_sent() -> None:
    before = NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.1", "10.0.0.2"}))
    after = NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.2", "10.0.0.3"}))
    sent = [
        (verb, body["elem"])
        for verb, noun, body in commands(CommitTable(sets=(after,), previous_sets=(before,)))
        if noun == "element"
    ]
    assert sent == [("delete", ["10.0.0.1"]), ("add", ["10.0.0.3"])]


def test_an_unchanged_interval_set_is_left_alone() -> None:
    same = NftSet("s", ("ipv4_addr",), frozenset({("prefix", "10.0.0.0", 8)}), interval=True)
    assert spoken(CommitTable(sets=(same,), previous_sets=(same,))) == [
        ("add", "table", "marathon-calico")
    ]


INTERVAL = {"range": ["1.1.1.1", "1.1.1.9"]}
PLACE = {"family": "inet", "table": "marathon-calico"}


def listing(*items: dict[str, object]) -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, *items]})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"type": "ipv4_addr", "elem": ["10.0.0.1"]},
            NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.1"})),
            id="plain",
        ),
        pytest.param({"type": "ipv4_addr"}, NftSet("s", ("ipv4_addr",), frozenset()), id="empty"),
        pytest.param(
            {
                "type": "ipv4_addr",
                "flags": ["interval"],
                "elem": [{"range": ["1.1.1.1", "1.1.1.9"]}],
            },
            NftSet(
                "s", ("ipv4_addr",), frozenset({("range", "1.1.1.1", "1.1.1.9")}), interval=True
            ),
            id="flags as a list",
        ),
        pytest.param(
            {"type": "ipv4_addr", "flags": "interval"},
            NftSet("s", ("ipv4_addr",), frozenset(), interval=True),
            id="a flag as a string, as newer libraries write",
        ),
        pytest.param(
            {"type": "ipv4_addr", "elem": [{"elem": {"val": "10.0.0.1", "comment": "x"}}]},
            NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.1"})),
            id="an element with a comment",
        ),
        pytest.param(
            {"type": "ipv4_addr", "elem": [{"new": 1}]},
            NftSet("s", ("ipv4_addr",), frozenset({(FOREIGN, '{"new": 1}')})),
            id="an element of an unknown form differs from all of ours",
        ),
    ],
)
def test_a_set_is_decoded(body: dict[str, object], expected: NftSet) -> None:
    _, sets = decode_table(listing({"set": {**PLACE, "name": "s", **body}}))
    assert sets == {"s": expected}


def test_rules_keep_their_order_and_a_foreign_one_shows() -> None:
    ours = dropping()
    chains, _ = decode_table(
        listing(
            {"chain": {**PLACE, "name": "c"}},
            {"rule": {**PLACE, "chain": "c", "expr": [{"accept": None}]}},
            {"rule": {**PLACE, "chain": "c", "expr": [], "comment": ours.digest}},
        )
    )
    assert chains["c"].rules == (NftRule(FOREIGN, ""), ours)


def test_a_table_put_to_sleep_counts_as_absent() -> None:
    text = listing(
        {"table": {"family": "inet", "name": "marathon-calico", "flags": ["dormant"]}},
        {"chain": {**PLACE, "name": "c"}},
    )
    assert decode_table(text) == ({}, {})


def test_another_tables_chains_are_not_ours() -> None:
    text = listing({"chain": {"family": "inet", "table": "filter", "name": "c"}})
    assert decode_table(text) == ({}, {})


def test_drops_are_summed_by_chain() -> None:
    counted = [{"counter": {"packets": 3, "bytes": 0}}, {"drop": None}]
    text = listing(
        {"rule": {**PLACE, "chain": "c", "expr": counted}},
        {"rule": {**PLACE, "chain": "c", "expr": counted}},
        {"rule": {**PLACE, "chain": "d", "expr": [{"accept": None}]}},
    )
    assert decode_drops(text) == {"c": 6}
