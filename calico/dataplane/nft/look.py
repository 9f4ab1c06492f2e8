"""Our table as nf_tables itself tells of it, for comparing; pure.

libnftables puts every expression of every rule into words, of which only the
comment is compared. What is not known here raises UnfamiliarError: then it is
libnftables' turn. Names and numbers are those of the kernel's headers.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from netaddr import IPAddress

from calico.dataplane.netlink.wire import Request, attributes, string, text
from calico.dataplane.nft.wire import (
    DATA_VALUE,
    DATA_VERDICT,
    ELEMENT_DATA,
    ELEMENT_KEY,
    IN_TABLE,
    NAME,
    SET_ELEMENTS,
    TYPES,
    VERDICT_CHAIN,
    VERDICT_CODE,
    VERDICTS,
    UnfamiliarError,
    request,
)
from calico.dataplane.render.addresses import Span, interval_elements
from calico.dataplane.state import TABLE, BaseHook, NftSet

NLM_F_DUMP = 0x300
NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET = 1, 4, 7, 10
NFT_MSG_GETSETELEM, NFT_MSG_GETGEN = 13, 16

TABLE_FLAGS, TABLE_DORMANT = 2, 1
CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_CHAIN, RULE_USERDATA, COMMENT = 2, 7, 0
SET_FLAGS, SET_KEY_TYPE, SET_COUNT = 3, 4, 20
SET_ANONYMOUS, SET_INTERVAL, SET_MAP = 0x1, 0x4, 0x8
ELEMENT_FLAGS, INTERVAL_END = 3, 1

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
POLICIES = ("drop", "accept")
VERDICT_NAMES = {code: name for name, code in VERDICTS.items()}
TYPE_NAMES = {number: name for name, (number, _) in TYPES.items()}
TYPE_BITS = 6

_SIGNED = struct.Struct(">i")
_UNSIGNED = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class SeenSet:
    """A set's head as the kernel tells it; `count` is None where it does not."""

    name: str
    kind: tuple[str, ...]
    flags: int
    count: int | None


def ask_generation() -> Request:
    """Ask for the number that grows with every change of any table."""
    return request(NFT_MSG_GETGEN, 0, place="")


def parse_generation(body: bytes) -> bytes:
    """The number, to be compared only."""
    return attributes(body, 4).get(1, b"")


def list_tables() -> Request:
    """Ask for all tables of the family."""
    return request(NFT_MSG_GETTABLE, NLM_F_DUMP, place="")


def is_awake(body: bytes) -> bool:
    """Whether a table is ours, and was not put to sleep: then its rules do nothing."""
    found = attributes(body, 4)
    dormant = _number(found.get(TABLE_FLAGS)) & TABLE_DORMANT
    return string(found.get(IN_TABLE, b"")) == TABLE and not dormant


def list_chains() -> Request:
    """Ask for the chains of all tables."""
    return request(NFT_MSG_GETCHAIN, NLM_F_DUMP)


def parse_chain(body: bytes) -> tuple[str, BaseHook | None] | None:
    """A chain's name and hook, None if it is another table's."""
    found = attributes(body, 4)
    if string(found.get(IN_TABLE, b"")) != TABLE:
        return None
    name = string(found[CHAIN_NAME])
    if CHAIN_HOOK not in found:
        return name, None
    hook = attributes(found[CHAIN_HOOK], 0)
    number, priority = _number(hook.get(HOOK_NUMBER)), hook.get(HOOK_PRIORITY, bytes(4))
    if number >= len(HOOKS):
        raise UnfamiliarError(f"hook {number} of chain {name}")
    policy = POLICIES[_number(found.get(CHAIN_POLICY, b"\0\0\0\1")) & 1]
    kind = string(found.get(CHAIN_TYPE, b""))
    return name, BaseHook(kind, HOOKS[number], _SIGNED.unpack(priority)[0], policy)


def list_rules() -> Request:
    """Ask for all rules of our table, in their order."""
    return request(NFT_MSG_GETRULE, NLM_F_DUMP)


def parse_rule(body: bytes) -> tuple[str, str | None]:
    """A rule's chain and its comment."""
    found = attributes(body, 4)
    data = found.get(RULE_USERDATA, b"")
    comment = None
    while len(data) >= 2:
        kind, size = data[0], data[1]
        if kind == COMMENT:
            comment = string(data[2 : 2 + size])
        data = data[2 + size :]
    return string(found[RULE_CHAIN]), comment


def list_sets() -> Request:
    """Ask for the heads of our table's sets."""
    return request(NFT_MSG_GETSET, NLM_F_DUMP)


def parse_set(body: bytes) -> SeenSet | None:
    """A set's head, None if it is part of a rule; raises UnfamiliarError."""
    found = attributes(body, 4)
    flags = _number(found.get(SET_FLAGS))
    if flags & SET_ANONYMOUS:
        return None
    count = found.get(SET_COUNT)
    return SeenSet(
        name=string(found[NAME]),
        kind=_kinds(_number(found.get(SET_KEY_TYPE))),
        flags=flags,
        count=None if count is None else _number(count),
    )


def _kinds(number: int) -> tuple[str, ...]:
    kinds: list[str] = []
    while number:
        name = TYPE_NAMES.get(number & ((1 << TYPE_BITS) - 1))
        if name is None:
            raise UnfamiliarError(f"a set of type {number}")
        kinds.insert(0, name)
        number >>= TYPE_BITS
    return tuple(kinds)


def list_elements(name: str) -> Request:
    """Ask for the elements of a set."""
    return request(NFT_MSG_GETSETELEM, NLM_F_DUMP, text(NAME, name))


def parse_elements(seen: SeenSet, bodies: Iterable[bytes]) -> NftSet:
    """A set with its elements, in the form in which they are rendered."""
    found = [
        attributes(packed, 0)
        for body in bodies
        for packed in items(attributes(body, 4).get(SET_ELEMENTS, b""))
    ]
    verdicts, interval = bool(seen.flags & SET_MAP), bool(seen.flags & SET_INTERVAL)
    if interval:
        elements = _intervals(seen, found)
    else:
        read = _reader(seen.kind)
        if verdicts:
            elements = frozenset((read(_key(each)), _verdict(each)) for each in found)
        else:
            elements = frozenset(read(_key(each)) for each in found)
    return NftSet(seen.name, seen.kind, elements, interval=interval, verdicts=verdicts)


def items(packed: bytes) -> Iterator[bytes]:
    """The members of a list: attributes of one kind, in their order."""
    offset = 0
    while offset + 4 <= len(packed):
        (size,) = struct.unpack_from("=H", packed, offset)
        yield packed[offset + 4 : offset + size]
        offset += (max(size, 4) + 3) & ~3


def _key(element: dict[int, bytes]) -> bytes:
    value = attributes(element.get(ELEMENT_KEY, b""), 0).get(DATA_VALUE)
    if value is None:
        raise UnfamiliarError("an element without a key")
    return value


def _verdict(element: dict[int, bytes]) -> tuple[str, ...]:
    data = attributes(element.get(ELEMENT_DATA, b""), 0).get(DATA_VERDICT, b"")
    found = attributes(data, 0)
    name = VERDICT_NAMES.get(_SIGNED.unpack(found.get(VERDICT_CODE, b"\x7f\xff\xff\xff"))[0])
    if name is None:
        raise UnfamiliarError("an element with another verdict")
    return (name, string(found[VERDICT_CHAIN])) if VERDICT_CHAIN in found else (name,)


def _reader(kinds: tuple[str, ...]) -> Callable[[bytes], object]:
    if len(kinds) == 1:
        return _READERS[kinds[0]]
    places = []
    offset = 0
    for kind in kinds:
        size = TYPES[kind][1]
        places.append((_READERS[kind], offset, offset + size))
        offset += (size + 3) & ~3
    return lambda value: ("concat", *(read(value[first:end]) for read, first, end in places))


def _read_ipv4(value: bytes) -> str:
    return "{}.{}.{}.{}".format(*value)


def _read_ipv6(value: bytes) -> str:
    return str(IPAddress(int.from_bytes(value, "big"), 6))


def _read_mac(value: bytes) -> str:
    return value.hex(":")


_READERS: dict[str, Callable[[bytes], str]] = {
    "ipv4_addr": _read_ipv4,
    "ipv6_addr": _read_ipv6,
    "ether_addr": _read_mac,
    "ifname": string,
}


def _intervals(seen: SeenSet, found: Iterable[dict[int, bytes]]) -> frozenset[object]:
    """Intervals from where each begins and where it is over."""
    versions: dict[tuple[str, ...], Literal[4, 6]] = {("ipv4_addr",): 4, ("ipv6_addr",): 6}
    if seen.kind not in versions or seen.flags & SET_MAP:
        raise UnfamiliarError(f"intervals of {seen.kind}")
    version = versions[seen.kind]
    edges = sorted(
        (int.from_bytes(_key(each), "big"), not _number(each.get(ELEMENT_FLAGS)) & INTERVAL_END)
        for each in found
    )
    spans = []
    for number, (first, begins) in enumerate(edges):
        if begins:
            after = next((value for value, _ in edges[number + 1 :] if value > first), None)
            last = (1 << (32 if version == 4 else 128)) - 1 if after is None else after - 1
            spans.append(Span(version, first, last))
    return interval_elements(spans, version)


def _number(value: bytes | None) -> int:
    return 0 if value is None else int(_UNSIGNED.unpack(value)[0])
