"""Which firewalls of other programs are in the way of tasks, and what helps."""

import json

import pytest

from calico.dataplane.foreign.nft import (
    decode_chain_names,
    decode_foreign_table,
    decode_forwarding,
)
from calico.dataplane.foreign.rules import ForeignRules, ForeignTable, felix_chains, find_obstacles

PLACE = ("ip", "filter")
OUR_IN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "cali*"}}
OUR_OUT = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "cali*"}}
COUNTER = {"counter": {"packets": 7, "bytes": 700}}
ACCEPT, DROP, RETURN = {"accept": None}, {"drop": None}, {"return": None}
USER = {"jump": {"target": "DOCKER-USER"}}


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


def on(key: str, name: object, op: str = "==") -> dict[str, object]:
    return match({"meta": {"key": key}}, name, op)


def listing(policy: str, place: tuple[str, str] = PLACE, **chains: list[list[object]]) -> str:
    """What libnftables lists of one table; the chain FORWARD is at the hook."""
    family, table = place
    items: list[dict[str, object]] = [{"metainfo": {}}, {"table": {"family": family}}]
    for name, rules in chains.items():
        body: dict[str, object] = {"family": family, "table": table, "name": name}
        if name == "FORWARD":
            body |= {"type": "filter", "hook": "forward", "prio": 0, "policy": policy}
        items.append({"chain": body})
        items += [
            {"rule": {"family": family, "table": table, "chain": name, "expr": rule}}
            for rule in rules
        ]
    return json.dumps({"nftables": items})


def obstacles(text: str, place: tuple[str, str] = PLACE, version: int = 4) -> tuple[str, ...]:
    foreign = ForeignRules((decode_foreign_table(text, place),))
    return find_obstacles(foreign, "eth0", {version})


STATE = {"ct": {"key": "state"}}
PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
SOURCE = {"payload": {"protocol": "ip", "field": "saddr"}}
POOL = {"prefix": {"addr": "10.9.0.0", "len": 16}}


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        pytest.param([], True, id="policy alone"),
        pytest.param([[OUR_IN, COUNTER, ACCEPT], [OUR_OUT, ACCEPT]], False, id="both ways"),
        pytest.param([[OUR_IN, ACCEPT]], True, id="only what tasks send"),
        pytest.param([[OUR_OUT, ACCEPT]], True, id="only what tasks receive"),
        pytest.param([[on("oifname", "docker0"), ACCEPT]], True, id="other interfaces"),
        pytest.param([[on("oifname", "docker0", "!="), ACCEPT]], False, id="all but one"),
        pytest.param(
            [[on("iifname", {"set": ["cali*", "docker0"]}), ACCEPT], [OUR_OUT, ACCEPT]],
            False,
            id="in a set",
        ),
        pytest.param([[on("iifname", "cali0123456789a"), ACCEPT]], True, id="one single task"),
        pytest.param([[ACCEPT]], False, id="everything"),
        pytest.param(
            [[match(STATE, ["established", "related"], "in"), ACCEPT]], True, id="what is under way"
        ),
        pytest.param(
            [[match(STATE, ["new", "established"], "in"), ACCEPT]], False, id="what is new too"
        ),
        pytest.param([[match(PORT, 80), ACCEPT]], True, id="one port"),
        pytest.param([[match(SOURCE, POOL), ACCEPT]], False, id="perhaps the tasks' addresses"),
        pytest.param([[match(SOURCE, POOL), DROP], [ACCEPT]], False, id="some addresses dropped"),
        pytest.param(
            [[{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT]],
            True,
            id="an extension of iptables",
        ),
        pytest.param(
            [[{"xt": {"type": "match", "name": "comment"}}, ACCEPT]], False, id="a comment"
        ),
        pytest.param([[{"xt": {"type": "target", "name": "LOG"}}]], True, id="a log"),
        pytest.param(
            [[{"vmap": {"key": STATE, "data": {"set": [["established", ACCEPT]]}}}]],
            True,
            id="states in a map",
        ),
        pytest.param(
            [
                [
                    {
                        "vmap": {
                            "key": {"meta": {"key": "iifname"}},
                            "data": {"set": [["cali*", ACCEPT], ["eth0", ACCEPT]]},
                        }
                    }
                ]
            ],
            False,
            id="interfaces in a map",
        ),
        pytest.param(
            [[{"vmap": {"key": SOURCE, "data": "@known"}}]], False, id="a map that is not shown"
        ),
        pytest.param([[{"queue": {"num": 0}}]], False, id="somebody else decides"),
        pytest.param([[{"limit": {"rate": 1}}, ACCEPT]], True, id="a few"),
    ],
)
def test_a_policy_of_drop_is_in_the_way_unless_tasks_are_let_pass(
    rules: list[list[object]], closed: bool
) -> None:
    assert bool(obstacles(listing("drop", FORWARD=rules))) == closed


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([[DROP]], True, id="drop"),
        pytest.param([[COUNTER, {"reject": {"type": "icmpx"}}]], True, id="reject"),
        pytest.param([[{"xt": {"type": "target", "name": "REJECT"}}]], True, id="iptables' reject"),
        pytest.param([[match(STATE, "invalid", "in"), DROP]], False, id="only the invalid"),
        pytest.param([[OUR_IN, DROP]], True, id="what tasks send"),
        pytest.param([[OUR_IN, ACCEPT], [OUR_OUT, ACCEPT], [DROP]], False, id="after our tasks"),
    ],
)
def test_a_rule_that_drops_all_is_in_the_way_too(rules: list[list[object]], closed: bool) -> None:
    assert bool(obstacles(listing("accept", FORWARD=rules))) == closed


@pytest.mark.parametrize(
    ("user", "closed"),
    [
        pytest.param([[RETURN]], True, id="empty"),
        pytest.param([[OUR_IN, ACCEPT], [OUR_OUT, ACCEPT], [RETURN]], False, id="opened"),
        pytest.param([[RETURN], [ACCEPT]], True, id="too late"),
        pytest.param([[{"goto": {"target": "DOCKER-USER"}}]], False, id="round in circles"),
    ],
)
def test_chains_are_followed(user: list[list[object]], closed: bool) -> None:
    text = listing("drop", FORWARD=[[COUNTER, USER]], **{"DOCKER-USER": user})
    assert bool(obstacles(text)) == closed


def test_a_jump_for_some_addresses_may_let_pass() -> None:
    text = listing("drop", FORWARD=[[match(SOURCE, POOL), USER]], **{"DOCKER-USER": [[ACCEPT]]})
    assert obstacles(text) == ()


@pytest.mark.parametrize(
    ("place", "chains", "remedy"),
    [
        pytest.param(
            ("ip", "filter"),
            {},
            "iptables -I FORWARD -i cali+ -j ACCEPT; iptables -I FORWARD -o cali+ -j ACCEPT",
            id="iptables",
        ),
        pytest.param(
            ("ip", "filter"),
            {"DOCKER-USER": []},
            "iptables -I DOCKER-USER -i cali+ -j ACCEPT;"
            " iptables -I DOCKER-USER -o cali+ -j ACCEPT",
            id="docker",
        ),
        pytest.param(
            ("inet", "firewall"),
            {},
            'nft insert rule inet firewall FORWARD iifname "cali*" accept;'
            ' nft insert rule inet firewall FORWARD oifname "cali*" accept',
            id="nftables",
        ),
    ],
)
def test_the_remedy_is_given(
    place: tuple[str, str], chains: dict[str, list[list[object]]], remedy: str
) -> None:
    (sentence,) = obstacles(listing("drop", place, FORWARD=[], **chains), place)
    assert sentence.endswith(f"let it pass: {remedy}")


def test_only_the_versions_of_the_pools_count() -> None:
    place = ("ip6", "filter")
    text = listing("drop", place, FORWARD=[])
    assert obstacles(text, place, 4) == ()
    (sentence,) = obstacles(text, place, 6)
    assert "ip6tables -I FORWARD" in sentence


def test_felix_is_told_by_its_chains() -> None:
    names = felix_chains(["INPUT", "cali-FORWARD", "felix-INPUT", "cali-a", "cali-b", "calipers"])
    assert names == ("cali-FORWARD", "cali-a", "cali-b", "felix-INPUT")
    (sentence,) = find_obstacles(ForeignRules(felix=names), "eth0", {4})
    assert "(cali-FORWARD, cali-a, cali-b, ...)" in sentence


def test_our_own_table_is_nobody_elses() -> None:
    chains = [
        {"chain": {"family": "inet", "table": "marathon-calico", "name": "a", "hook": "forward"}},
        {"chain": {"family": "ip", "table": "filter", "name": "b", "hook": "forward"}},
        {"chain": {"family": "bridge", "table": "filter", "name": "c", "hook": "forward"}},
        {"chain": {"family": "inet", "table": "other", "name": "d", "hook": "input"}},
    ]
    text = json.dumps({"nftables": chains})
    assert decode_forwarding(text) == (("ip", "filter"),)
    assert decode_chain_names(text) == {"b", "c", "d"}


def test_a_table_without_a_chain_at_the_hook_is_in_nobodys_way() -> None:
    table = ForeignTable("nft", "ip", "nat", {"other": ()})
    assert find_obstacles(ForeignRules((table,)), "eth0", {4}) == ()
