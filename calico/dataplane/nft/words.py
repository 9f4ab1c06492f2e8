"""A rule of our table as a line of nftables' own language, for people to read.

Only what our rules are made of is put into words; anything else, such as a
rule of another program in our chain, is shown as the JSON that it is.
"""

import json
import re
from collections.abc import Mapping

from calico.dataplane.state import NftRule
from calico.model import PROTOCOLS

Names = Mapping[str, str]

_PROTOCOL_NAMES = {str(number): name for name, number in PROTOCOLS.items()}
#: nftables itself says it so: a protocol that its own field or port implies.
_PORT_OF = re.compile(r"meta l4proto (tcp|udp|sctp|dccp|udplite) th (sport|dport)")
_IMPLIED = re.compile(r"meta l4proto (icmp|icmpv6) (?=\1 )")
_VERDICTS = ("accept", "drop", "return", "masquerade")


def rule_text(rule: NftRule, names: Names | None = None) -> str:
    """The rule in one line; `names` puts words for sets, by the sets' names."""
    if not rule.expression:
        return f"another program's, or of an earlier version, with the comment {rule.digest!r}"
    try:
        statements = json.loads(rule.expression)
        words = " ".join(filter(None, (_statement(each, names or {}) for each in statements)))
        return _IMPLIED.sub("", _PORT_OF.sub(r"\1 \2", words))
    except (KeyError, TypeError, ValueError):
        return rule.expression


def element_text(element: object) -> str:
    """An element of a set, or a pair of a verdict map."""
    match element:
        case ("prefix", address, length):
            return f"{address}/{length}"
        case ("range", first, last):
            return f"{element_text(first)}-{element_text(last)}"
        case ("concat", *parts):
            return " . ".join(map(element_text, parts))
        case (key, (verdict, target)):
            return f"{element_text(key)} : {verdict} {target}"
        case (key, (verdict,)):
            return f"{element_text(key)} : {verdict}"
        case _:
            return str(element)


def _statement(statement: Mapping[str, object], names: Names) -> str:
    match statement:
        case {"match": {"op": op, "left": left, "right": right}}:
            key = _key(left)
            sign = "!= " if op == "!=" else ""
            return f"{key} {sign}{_value(right, names, protocols=key == 'meta l4proto')}"
        case {"vmap": {"key": key, "data": data}}:
            return f"{_key(key)} vmap {_value(data, names)}"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case {"jump": {"target": target}}:
            return f"jump {target}"
        case {"counter": _}:
            return ""
        case {"limit": {"rate": rate, "per": per}}:
            return f"limit rate {rate}/{per}"
        case {"log": {"prefix": prefix}}:
            return f'log prefix "{prefix}"'
        case {"mangle": {"key": key, "value": {"|": [_, int() as bit]}}}:
            return f"{_key(key)} set {_key(key)} | {bit:#x}"
        case {"mangle": {"key": key, "value": (int() | str()) as value}}:
            return f"{_key(key)} set {value}"
        case _ if len(statement) == 1 and next(iter(statement)) in _VERDICTS:
            return next(iter(statement))
        case _:
            return json.dumps(statement, sort_keys=True)


def field_name(left: object) -> str | None:
    """What a packet's field is called; None for what is no single field."""
    match left:
        case {"meta": {"key": key}}:
            return f"meta {key}"
        case {"payload": {"protocol": protocol, "field": name}}:
            return f"{protocol} {name}"
        case {"ct": {"key": key, "dir": direction}}:
            return f"ct {direction} {key}"
        case {"ct": {"key": key}}:
            return f"ct {key}"
        case _:
            return None


def _key(left: object) -> str:
    name = field_name(left)
    if name is not None:
        return name
    match left:
        case {"concat": [*parts]}:
            return " . ".join(map(_key, parts))
        case {"fib": {"result": result, "flags": [*parts]}}:
            return f"fib {' . '.join(parts)} {result}"
        case {"&": [field, _]}:
            # The masks that we use: the flags of an opening, and one bit of a label.
            return _key(field)
        case _:
            return json.dumps(left, sort_keys=True)


def _value(right: object, names: Names, *, protocols: bool = False) -> str:
    match right:
        case str() if right.startswith("@"):
            return names.get(right[1:], right)
        case {"set": [element]} if not isinstance(element, list):
            return _value(element, names, protocols=protocols)
        case {"set": [*elements]}:
            listed = ", ".join(_value(each, names, protocols=protocols) for each in elements)
            return f"{{ {listed} }}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{_value(first, names)}-{_value(last, names)}"
        case {"concat": [*parts]}:
            return " . ".join(_value(each, names) for each in parts)
        case [key, {**verdict}]:
            target = _statement({str(word): body for word, body in verdict.items()}, names)
            return f"{_value(key, names)} : {target}"
        case _:
            text = str(right)
            return _PROTOCOL_NAMES.get(text, text) if protocols else text
