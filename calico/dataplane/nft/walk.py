"""What the chains of a table do with the first packet of a connection.

A model of nftables for exactly the expressions that our rules are made of.
Where a rule says something else, as one of another program may, the answer is
that it is not known: nothing is guessed.
"""

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from netaddr import IPAddress, IPNetwork

from calico.dataplane.nft.words import field_name
from calico.dataplane.state import Chain, NftRule, NftSet

Fields = Mapping[str, object]

_PORTS = ("sport", "dport")
_ANY_WITH_PORTS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
#: What an expression may ask for; a packet may lack it.
_KNOWN = frozenset(
    [f"meta {key}" for key in ("iifname", "oifname", "nfproto", "l4proto", "mark")]
    + [f"{family} {side}" for family in ("ip", "ip6") for side in ("saddr", "daddr")]
    + [f"ct original {each} {side}" for each in ("ip", "ip6") for side in ("saddr", "daddr")]
    + [f"{name} {side}" for name in (*_ANY_WITH_PORTS.values(), "th") for side in _PORTS]
    + [f"{header} {part}" for header in ("icmp", "icmpv6") for part in ("type", "code")]
    + ["ether saddr", "ip ttl", "ip6 hoplimit", "tcp flags"]
    + ["ct state", "ct direction", "ct label", "ct original proto-dst"]
)
_TCP, _SYN, _HOPS = 6, 2, 64
_NO_PORT = -1
_DEEPEST = 16


class Verdict(enum.Enum):
    """The end of a walk."""

    ACCEPT = "accept"
    DROP = "drop"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Probe:
    """The first packet of a connection, as a hook of this host sees it.

    `iifname` and `oifname` are empty where the hook knows none.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    iifname: str
    oifname: str = ""
    ether_source: str = ""
    source_port: int | None = None
    destination_port: int | None = None
    icmp: tuple[int, int] | None = None

    def fields(self) -> Fields:
        """What the packet has, by the names that expressions use; nothing else applies."""
        family = "ip" if self.source.version == 4 else "ip6"
        source, destination = str(self.source), str(self.destination)
        port = _NO_PORT if self.destination_port is None else self.destination_port
        found: dict[str, object] = {
            "meta iifname": self.iifname,
            "meta oifname": self.oifname,
            "meta nfproto": f"ipv{self.source.version}",
            "meta l4proto": self.protocol,
            "meta mark": 0,
            "ether saddr": self.ether_source,
            f"{family} saddr": source,
            f"{family} daddr": destination,
            "ip ttl" if family == "ip" else "ip6 hoplimit": _HOPS,
            "ct label": "",
            "ct state": "new",
            "ct direction": "original",
            f"ct original {family} saddr": source,
            f"ct original {family} daddr": destination,
            "ct original proto-dst": port,
            # Without ports the kernel compares other bytes: they are no port's.
            "th dport": port,
            "th sport": _NO_PORT if self.source_port is None else self.source_port,
        }
        name = _ANY_WITH_PORTS.get(self.protocol)
        if name is not None:
            found |= {f"{name} dport": found["th dport"], f"{name} sport": found["th sport"]}
        if self.protocol == _TCP:
            found["tcp flags"] = _SYN
        if self.icmp is not None:
            header = "icmp" if self.source.version == 4 else "icmpv6"
            found |= {f"{header} type": self.icmp[0], f"{header} code": self.icmp[1]}
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that led on or decided, counted from 1; 0 is the end of the chain."""

    chain: str
    number: int = 0
    rule: NftRule | None = None


@dataclass(frozen=True, slots=True)
class Walked:
    """How a walk ended, and the rules on the way; the last one decided."""

    verdict: Verdict
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Chains and sets as a kernel holds them.

    `known` are expressions as we wrote them, by the rules' digests: the kernel
    gives them back in other words.
    """

    chains: Mapping[str, Chain]
    sets: Mapping[str, NftSet]
    known: Mapping[str, str] = field(default_factory=dict)


class _NotUnderstood(Exception):
    """A rule says what this model does not know."""


def walk(table: Table, base: str, probe: Probe) -> Walked:
    """Send a packet through a base chain."""
    chain = table.chains.get(base)
    if chain is None:
        return Walked(Verdict.ACCEPT, (Step(base),))
    ended = _Walk(table, probe.fields()).chain(base, _DEEPEST)
    if ended is not None:
        return ended
    policy = chain.base.policy if chain.base is not None else "drop"
    return Walked(Verdict(policy), (Step(base),))


class _Walk:
    """One packet under way."""

    def __init__(self, table: Table, fields: Fields) -> None:
        self._table = table
        self._fields = fields

    def chain(self, name: str, depth: int) -> Walked | None:
        """What a chain decides; None if it returns to its caller."""
        chain = self._table.chains.get(name)
        if chain is None or depth == 0:
            return Walked(Verdict.UNKNOWN, (Step(name),))
        for number, rule in enumerate(chain.rules, start=1):
            try:
                outcome = self._rule(self._table.known.get(rule.digest, rule.expression))
            except (_NotUnderstood, LookupError, TypeError, ValueError):
                return Walked(Verdict.UNKNOWN, (Step(name, number, rule),))
            if outcome is None:
                continue
            step = Step(name, number, rule)
            match outcome:
                case ("return",):
                    return None
                case ("accept" | "drop" as verdict,):
                    return Walked(Verdict(verdict), (step,))
                case ("goto" | "jump" as verdict, str() as target):
                    ended = self.chain(target, depth - 1)
                    if ended is not None:
                        return Walked(ended.verdict, (step, *ended.steps))
                    if verdict == "goto":
                        return None
                case _:
                    return Walked(Verdict.UNKNOWN, (step,))
        return None

    def _rule(self, expression: str) -> tuple[str, ...] | None:
        """The verdict of a rule; None if it does not match or has none."""
        for statement in _statements(expression):
            match statement:
                case {"match": {"op": op, "left": left, "right": right}}:
                    if not self._matches(op, left, right):
                        return None
                case {"vmap": {"key": key, "data": data}}:
                    found = self._look_up(key, data)
                    if found is not None:
                        return found
                    return None
                case {"counter": _} | {"limit": _} | {"log": _} | {"mangle": _}:
                    continue
                case {"goto": {"target": target}}:
                    return ("goto", target)
                case {"jump": {"target": target}}:
                    return ("jump", target)
                case {"accept": _} | {"drop": _} | {"return": _}:
                    return (next(iter(statement)),)
                case _:
                    raise _NotUnderstood
        return None

    def _matches(self, op: str, left: object, right: object) -> bool:
        if op not in ("==", "!="):
            raise _NotUnderstood
        value = self._value(left)
        if value is None:
            # Not a packet of that kind: neither the match nor its negation holds.
            return False
        return self._holds(value, right) is (op == "==")

    def _look_up(self, key: object, data: object) -> tuple[str, ...] | None:
        value = self._value(key)
        if value is None:
            return None
        match data:
            case str() if data.startswith("@"):
                for element in self._table.sets[data[1:]].elements:
                    match element:
                        case (found, (str() as verdict, *target)) if _is_in(value, found):
                            return (verdict, *map(str, target))
            case {"set": [*pairs]}:
                for found, verdict in pairs:
                    if self._holds(value, found):
                        ((name, body),) = verdict.items()
                        return (name, body["target"]) if isinstance(body, dict) else (name,)
            case _:
                raise _NotUnderstood
        return None

    def _value(self, left: object) -> object:
        """What the packet has there; None if it has no such field."""
        match left:
            case {"concat": [*parts]}:
                values = [self._value(part) for part in parts]
                return None if None in values else ("concat", *values)
            case {"&": [field_, _]}:
                # The masks that we use change nothing of an opening: its flags, and no label.
                return self._value(field_)
        name = _name(left)
        if name not in _KNOWN:
            raise _NotUnderstood
        return self._fields.get(name)

    def _holds(self, value: object, right: object) -> bool:
        match right:
            case str() if right.startswith("@"):
                return any(_is_in(value, each) for each in self._table.sets[right[1:]].elements)
            case {"set": [*elements]}:
                return any(self._holds(value, each) for each in elements)
            case {"prefix": {"addr": address, "len": length}}:
                return _is_in(value, ("prefix", address, length))
            case {"range": [first, last]}:
                return _is_in(value, ("range", first, last))
            case {"concat": [*parts]}:
                return value == ("concat", *parts)
            case str() if right.endswith("*"):
                return str(value).startswith(right[:-1])
            case str() if isinstance(value, int):
                # A number in words; which one is not for this model to know.
                raise _NotUnderstood
            case str() | int():
                return value == right
            case _:
                raise _NotUnderstood


# One walk after the other meets the same rules; nobody changes what they say.
@lru_cache(maxsize=1024)
def _statements(expression: str) -> tuple[Any, ...]:
    return tuple(json.loads(expression))


def _name(left: object) -> str:
    name = field_name(left)
    if name is None:
        raise _NotUnderstood
    return name


def _is_in(value: object, element: object) -> bool:
    match element:
        case ("prefix", str() as address, int() as length):
            return IPAddress(str(value)) in IPNetwork(f"{address}/{length}")
        case ("range", first, last):
            # Both are of one kind, which mypy does not see.
            order: Callable[[object], int] = int if isinstance(first, int) else _address_number  # type: ignore[assignment]
            return order(first) <= order(value) <= order(last)
        case _:
            return value == element


def _address_number(value: object) -> int:
    return int(IPAddress(str(value)))
