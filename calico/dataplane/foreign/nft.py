"""Other programs' nftables, from libnftables' JSON to what is judged of them: pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from calico.dataplane.foreign.rules import Act, ForeignRule, ForeignTable, InterfaceMatch, Scope
from calico.dataplane.state import TABLE

FAMILIES = ("ip", "ip6", "inet")
#: iptables keeps its rules in tables of these families and this name.
IPTABLES = {("ip", "filter"): "iptables", ("ip6", "filter"): "ip6tables"}
INPUT_KEYS, OUTPUT_KEYS = ("iifname", "iif"), ("oifname", "oif")

Place = tuple[str, str]


def encode_list_chains() -> str:
    """The request for all chains, without their rules."""
    return json.dumps({"nftables": [{"list": {"chains": None}}]})


def encode_list_table(place: Place) -> str:
    """The request for one table."""
    family, name = place
    return json.dumps({"nftables": [{"list": {"table": {"family": family, "name": name}}}]})


def decode_chain_names(text: str) -> frozenset[str]:
    """The names of all chains of other programs."""
    return frozenset(chain["name"] for chain in _bodies(text, "chain") if chain["table"] != TABLE)


def decode_forwarding(text: str) -> tuple[Place, ...]:
    """The tables of others that have a chain at the forward hook."""
    places = {
        (chain["family"], chain["table"])
        for chain in _bodies(text, "chain")
        if chain.get("hook") == "forward" and chain["family"] in FAMILIES
    }
    return tuple(sorted(place for place in places if place[1] != TABLE))


def decode_foreign_table(text: str, place: Place) -> ForeignTable:
    """One table as it was listed."""
    family, name = place
    chains: dict[str, list[ForeignRule]] = {}
    forwarding: dict[str, Act] = {}
    for chain in _bodies(text, "chain"):
        chains[chain["name"]] = []
        if chain.get("hook") == "forward" and chain.get("type") == "filter":
            forwarding[chain["name"]] = Act.DROP if chain.get("policy") == "drop" else Act.ACCEPT
    for rule in _bodies(text, "rule"):
        chains.setdefault(rule["chain"], []).extend(_rules(rule["expr"]))
    return ForeignTable(
        tool=IPTABLES.get(place, "nft"),
        family=family,
        name=name,
        chains={chain: tuple(rules) for chain, rules in chains.items()},
        forwarding=forwarding,
    )


def _bodies(text: str, noun: str) -> Iterator[Mapping[str, Any]]:
    return (item[noun] for item in json.loads(text)["nftables"] if noun in item)


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What a rule asks for, as far as it was read."""

    inputs: tuple[InterfaceMatch, ...] = ()
    outputs: tuple[InterfaceMatch, ...] = ()
    scope: Scope = Scope.ALL

    def on(self, key: str, match: InterfaceMatch) -> "_Conditions":
        """And an interface."""
        if key in INPUT_KEYS:
            return replace(self, inputs=(*self.inputs, match))
        return replace(self, outputs=(*self.outputs, match))

    def within(self, scope: Scope) -> "_Conditions":
        """And something else."""
        return replace(self, scope=max(self.scope, scope, key=lambda each: each.value))

    def rule(self, act: Act, target: str = "") -> ForeignRule:
        """What is done when all is met."""
        return ForeignRule(
            act=act, target=target, inputs=self.inputs, outputs=self.outputs, scope=self.scope
        )


def _rules(statements: Iterable[Mapping[str, Any]]) -> Iterator[ForeignRule]:
    """What one rule comes to; several where it looks up an interface in a verdict map."""
    met = _Conditions()
    for statement in statements:
        ((word, body),) = statement.items()
        if word == "match":
            met = _matched(met, body)
        elif word == "vmap":
            yield from _looked_up(met, body)
            return
        elif word == "queue":
            # Whoever takes it from there may accept it.
            yield met.within(Scope.SOME).rule(Act.ACCEPT)
            return
        elif word == "limit" or (word == "xt" and not _is_target(body)):
            met = met.within(_extension_scope(body))
        else:
            act, target = _act(statement)
            if act is not Act.CONTINUE:
                yield met.rule(act, target)


def _matched(met: _Conditions, body: Mapping[str, Any]) -> _Conditions:
    match body["left"]:
        case {"meta": {"key": str() as key}} if key in (*INPUT_KEYS, *OUTPUT_KEYS):
            right = body["right"]
            names = right["set"] if isinstance(right, dict) and "set" in right else [right]
            negated = body["op"] == "!="
            return met.on(key, InterfaceMatch(tuple(map(str, names)), negated))
        case {"payload": {"protocol": "ip" | "ip6", "field": "saddr" | "daddr"}}:
            return met.within(Scope.SOME)
        case {"meta": {"key": "mark"}} | {"&": [{"meta": {"key": "mark"}}, _]}:
            return met.within(Scope.SOME)
        case {"ct": {"key": "state"}} if "new" in json.dumps(body["right"]):
            return met.within(Scope.SOME)
        case {"meta": {"key": "nfproto"}}:
            return met.within(Scope.SOME)
        case _:
            return met.within(Scope.NARROW)


def _looked_up(met: _Conditions, body: Mapping[str, Any]) -> Iterator[ForeignRule]:
    match body:
        case {"key": {"meta": {"key": str() as key}}, "data": {"set": [*pairs]}} if key in (
            *INPUT_KEYS,
            *OUTPUT_KEYS,
        ):
            for name, verdict in pairs:
                yield met.on(key, InterfaceMatch((str(name),))).rule(*_act(verdict))
        case {"key": {"ct": _}}:
            pass
        case _:
            # It may accept what it does not say here.
            yield met.within(Scope.SOME).rule(Act.ACCEPT)


def _extension_scope(body: Any) -> Scope:
    """What one of iptables' own matches asks for."""
    name = body.get("name") if isinstance(body, dict) else None
    return {"comment": Scope.ALL, "mark": Scope.SOME}.get(str(name), Scope.NARROW)


def _is_target(body: Any) -> bool:
    return isinstance(body, dict) and body.get("type") == "target"


def _act(statement: Mapping[str, Any]) -> tuple[Act, str]:
    match statement:
        case {"accept": _}:
            return Act.ACCEPT, ""
        case {"drop": _} | {"reject": _} | {"xt": {"name": "REJECT"}}:
            return Act.DROP, ""
        case {"return": _}:
            return Act.RETURN, ""
        case {"jump": {"target": str() as target}}:
            return Act.JUMP, target
        case {"goto": {"target": str() as target}}:
            return Act.GOTO, target
        case _:
            return Act.CONTINUE, ""
