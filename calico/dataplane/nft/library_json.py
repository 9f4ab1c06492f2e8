"""Our table to and from libnftables' JSON.

One commit is one transaction: the kernel takes all of it or nothing. Its order
is that of dependence: chains and sets exist before rules and verdicts name
them, and go only when nothing names them any more.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from calico.dataplane.changes import CommitTable
from calico.dataplane.state import TABLE, BaseHook, Chain, NftRule, NftSet

FAMILY = "inet"
#: What a rule is called that does not carry our comment.
FOREIGN = "foreign"

#: Flags of a table that works. The other one puts it to sleep, but nftables
#: before 1.0.7 says the table's own name where it should say the flag's.
_HARMLESS_FLAGS = frozenset({"owner", "persist"})

Command = Mapping[str, object]
_PLACE: Mapping[str, object] = {"family": FAMILY, "table": TABLE}


def encode_commit(commit: CommitTable) -> str:
    """The transaction that makes the table hold exactly what the commit says.

    Base chains are never deleted, not even within the transaction: packets slip
    through while a base chain is replaced.
    """
    return _encode(_commands(commit))


def encode_list() -> str:
    """The request for the whole table."""
    return _encode([{"list": {"table": {"family": FAMILY, "name": TABLE}}}])


def encode_list_tables() -> str:
    """The request for the names of all tables of the family."""
    return _encode([{"list": {"tables": {"family": FAMILY}}}])


def _encode(commands: Iterable[Command | str]) -> str:
    """A request; commands may be in JSON already."""
    texts = (each if isinstance(each, str) else _text(each) for each in commands)
    return f'{{"nftables":[{",".join(texts)}]}}'


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _commands(commit: CommitTable) -> Iterator[Command | str]:
    previous = {each.name: each for each in commit.previous_sets}
    yield {"add": {"table": {"family": FAMILY, "name": TABLE}}}
    for chain in commit.chains:
        yield {"add": {"chain": {**_PLACE, "name": chain.name, **_hook(chain)}}}
    for each in commit.sets:
        if each.name not in previous:
            yield _declare(each)
    for name in (*(chain.name for chain in commit.chains), *commit.removed_chains):
        yield {"flush": {"chain": {**_PLACE, "name": name}}}
    for each in commit.sets:
        yield from _difference(previous.get(each.name), each)
    for chain in commit.chains:
        head = _text({**_PLACE, "chain": chain.name})[:-1]
        for rule in chain.rules:
            # Expressions are kept as JSON, which to read again would cost most.
            yield (
                f'{{"add":{{"rule":{head},"expr":{rule.expression},"comment":{_text(rule.digest)}}}}}}}'
            )
    # A removed map may be the last that names a removed chain.
    for name in commit.removed_sets:
        before = previous.get(name)
        yield {"delete": {_noun(before) if before else "set": {**_PLACE, "name": name}}}
    for name in commit.removed_chains:
        yield {"delete": {"chain": {**_PLACE, "name": name}}}


def _hook(chain: Chain) -> Mapping[str, object]:
    if chain.base is None:
        return {}
    return {
        "type": chain.base.kind,
        "hook": chain.base.hook,
        "prio": chain.base.priority,
        "policy": chain.base.policy,
    }


def _noun(each: NftSet) -> str:
    return "map" if each.verdicts else "set"


def _declare(each: NftSet) -> Command:
    kind: object = each.kind[0] if len(each.kind) == 1 else list(each.kind)
    body: dict[str, object] = {**_PLACE, "name": each.name, "type": kind}
    if each.interval:
        body["flags"] = ["interval"]
    if each.verdicts:
        body["map"] = "verdict"
    return {"add": {_noun(each): body}}


def _difference(before: NftSet | None, after: NftSet) -> Iterator[Command]:
    held = before.elements if before else frozenset()
    if after.interval and held != after.elements:
        # Intervals are few; to change one among others is not worth the risk
        # that libnftables, which merges and splits them, sees an overlap.
        if held:
            yield {"flush": {_noun(after): {**_PLACE, "name": after.name}}}
        yield from _elements("add", after, after.elements)
        return
    yield from _elements("delete", after, held - after.elements)
    yield from _elements("add", after, after.elements - held)


def _elements(verb: str, each: NftSet, elements: Iterable[object]) -> Iterator[Command]:
    listed = [
        _thaw_pair(element) if each.verdicts else _thaw(element)
        for element in sorted(elements, key=repr)
    ]
    if listed:
        yield {verb: {"element": {**_PLACE, "name": each.name, "elem": listed}}}


def _thaw(element: object) -> object:
    """A frozen element as libnftables' JSON value."""
    match element:
        case ("prefix", address, length):
            return {"prefix": {"addr": address, "len": length}}
        case ("range", first, last):
            return {"range": [_thaw(first), _thaw(last)]}
        case ("concat", *parts):
            return {"concat": [_thaw(part) for part in parts]}
        case _:
            return element


def _thaw_pair(pair: object) -> object:
    match pair:
        case (key, (verdict, target)):
            return [_thaw(key), {verdict: {"target": target}}]
        case (key, (verdict,)):
            return [_thaw(key), {verdict: None}]
        case _:
            raise ValueError(f"{pair!r} is no element of a verdict map")


def decode_table(text: str) -> tuple[Mapping[str, Chain], Mapping[str, NftSet]]:
    """Chains and sets of our table, from what libnftables lists.

    Elements have the frozen form in which they are rendered. A table that was
    put to sleep decodes as empty: its rules do nothing.
    """
    chains: dict[str, BaseHook | None] = {}
    rules: dict[str, list[NftRule]] = {}
    sets: dict[str, NftSet] = {}
    for item in json.loads(text)["nftables"]:
        ((noun, body),) = item.items()
        if noun == "table" and set(_listed(body.get("flags"))) - _HARMLESS_FLAGS:
            return {}, {}
        if body.get("table") != TABLE or body.get("family") != FAMILY:
            continue
        if noun == "chain":
            chains[body["name"]] = _decode_hook(body)
        elif noun == "rule":
            rules.setdefault(body["chain"], []).append(_decode_rule(body))
        elif noun in ("set", "map"):
            sets[body["name"]] = _decode_set(body, verdicts=body.get("map") == "verdict")
    return {
        name: Chain(name, tuple(rules.get(name, ())), base) for name, base in chains.items()
    }, sets


def decode_table_names(text: str) -> frozenset[str]:
    """The names in a listing of tables."""
    items: Sequence[Mapping[str, Any]] = json.loads(text)["nftables"]
    return frozenset(item["table"]["name"] for item in items if "table" in item)


def decode_drops(text: str) -> Mapping[str, int]:
    """Packets that each chain has counted in its rules."""
    drops: dict[str, int] = {}
    for item in json.loads(text)["nftables"]:
        rule = item.get("rule")
        if rule is None or rule["table"] != TABLE:
            continue
        for statement in rule["expr"]:
            counter = statement.get("counter")
            if isinstance(counter, dict):
                drops[rule["chain"]] = drops.get(rule["chain"], 0) + counter["packets"]
    return drops


def _listed(value: object) -> Sequence[object]:
    # One flag is a string since nftables 1.1, and was a list before.
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _decode_hook(body: Mapping[str, Any]) -> BaseHook | None:
    if "hook" not in body:
        return None
    return BaseHook(body["type"], body["hook"], body["prio"], body.get("policy", "accept"))


def _decode_rule(body: Mapping[str, Any]) -> NftRule:
    return NftRule(body.get("comment", FOREIGN), json.dumps(body["expr"]))


def _decode_set(body: Mapping[str, Any], *, verdicts: bool) -> NftSet:
    kind = body["type"]
    freeze = _freeze_pair if verdicts else _freeze
    return NftSet(
        body["name"],
        tuple(map(str, kind)) if isinstance(kind, list) else (str(kind),),
        frozenset(map(freeze, body.get("elem", ()))),
        interval="interval" in _listed(body.get("flags")),
        verdicts=verdicts,
    )


def _freeze(element: object) -> object:
    match element:
        case str() | int():
            return element
        case {"concat": [*parts]}:
            return ("concat", *map(_freeze, parts))
        case {"prefix": {"addr": address, "len": length}}:
            return ("prefix", address, length)
        case {"range": [first, last]}:
            return ("range", _freeze(first), _freeze(last))
        case {"elem": {"val": value}}:
            # Someone gave it a comment, a counter or a timeout.
            return _freeze(value)
        case _:
            return (FOREIGN, json.dumps(element, sort_keys=True))


def _freeze_pair(pair: object) -> object:
    match pair:
        case [key, {**verdict}] if len(verdict) == 1:
            ((name, body),) = verdict.items()
            target = (body["target"],) if isinstance(body, dict) else ()
            return (_freeze(key), (name, *target))
        case _:
            return (FOREIGN, json.dumps(pair, sort_keys=True))
