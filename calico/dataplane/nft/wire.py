"""nf_tables' own messages that change elements; pure.

libnftables reads all chains and sets of the host before it changes one element.
Elements of plain sets and verdict maps are what changes from minute to minute,
and their few shapes are written out here. Names and numbers are those of the
kernel's headers.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from netaddr import IPAddress

from calico.dataplane.netlink.wire import Request, attribute, text
from calico.dataplane.state import TABLE, NftSet

SUBSYSTEM, NFPROTO_INET = 10, 1
NLM_F_ACK, NLM_F_CREATE = 0x4, 0x400
NLA_F_NESTED = 0x8000
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM = 12, 14

#: The table comes first in every message, then the object's own name.
IN_TABLE, NAME = 1, 2
SET_ELEMENTS, LIST_ELEMENT = 3, 1
ELEMENT_KEY, ELEMENT_DATA = 1, 2
DATA_VALUE, DATA_VERDICT, VERDICT_CODE, VERDICT_CHAIN = 1, 2, 1, 2
VERDICTS = {"drop": 0, "accept": 1, "continue": -1, "jump": -3, "goto": -4, "return": -5}
#: The types that our keys are made of: nftables' number, and bytes.
TYPES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16), "ether_addr": (9, 6), "ifname": (41, 16)}
#: Bytes of elements in one message: a list of them has 16 bits for its size.
LARGEST_LIST = 60_000

_HEADER = struct.Struct("=BBH")
_SIGNED = struct.Struct(">i")


class UnfamiliarError(ValueError):
    """Something that is neither written nor read by hand."""


def request(kind: int, flags: int, body: bytes = b"", *, place: str = TABLE) -> Request:
    """A message about the insides of our table, or about none."""
    head = _HEADER.pack(NFPROTO_INET, 0, 0) + (text(IN_TABLE, place) if place else b"")
    return Request("nftables", SUBSYSTEM << 8 | kind, flags, head + body)


def _nested(kind: int, body: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, body)


def batch(requests: Sequence[Request]) -> tuple[Request, ...]:
    """The messages as one transaction; the last one is answered if all is well."""
    *rest, last = requests
    head = struct.pack(">BBH", 0, 0, SUBSYSTEM)
    return (
        Request("begin", BATCH_BEGIN, 0, head),
        *rest,
        Request(last.what, last.kind, last.flags | NLM_F_ACK, last.body),
        Request("end", BATCH_END, 0, head),
    )


def is_plain(each: NftSet) -> bool:
    """Whether the elements of a set can be written here."""
    return not each.interval and all(kind in TYPES for kind in each.kind)


def difference(before: NftSet, after: NftSet) -> Iterator[Request]:
    """What turns the elements of a plain set into others; raises UnfamiliarError."""
    gone, come = before.elements - after.elements, after.elements - before.elements
    yield from _elements(NFT_MSG_DELSETELEM, 0, after, gone)
    yield from _elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, after, come)


def _elements(kind: int, flags: int, each: NftSet, elements: Iterable[object]) -> Iterator[Request]:
    packed = bytearray()
    for element in elements:
        packed += _pack_element(each, element)
        if len(packed) >= LARGEST_LIST:
            yield request(kind, flags, _listed(each, packed))
            packed = bytearray()
    if packed:
        yield request(kind, flags, _listed(each, packed))


def _listed(each: NftSet, packed: bytes | bytearray) -> bytes:
    return text(NAME, each.name) + _nested(SET_ELEMENTS, bytes(packed))


def _pack_element(each: NftSet, element: object) -> bytes:
    if not each.verdicts:
        return _nested(LIST_ELEMENT, _pack_key(each.kind, element))
    match element:
        case (key, (str() as verdict, *target)) if verdict in VERDICTS:
            decision = attribute(VERDICT_CODE, _SIGNED.pack(VERDICTS[verdict]))
            decision += b"".join(text(VERDICT_CHAIN, str(chain)) for chain in target)
            data = _nested(ELEMENT_DATA, _nested(DATA_VERDICT, decision))
            return _nested(LIST_ELEMENT, _pack_key(each.kind, key) + data)
        case _:
            raise UnfamiliarError(f"element {element!r}")


def _pack_key(kinds: tuple[str, ...], key: object) -> bytes:
    match key:
        case str() if len(kinds) == 1:
            value = _WRITERS[kinds[0]](key)
        case ("concat", *parts) if len(parts) == len(kinds):
            value = b"".join(
                _padded(_WRITERS[kind](str(part))) for kind, part in zip(kinds, parts, strict=True)
            )
        case _:
            raise UnfamiliarError(f"key {key!r}")
    return _nested(ELEMENT_KEY, attribute(DATA_VALUE, value))


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) & 3)


def _pack_ipv4(value: str) -> bytes:
    return bytes(map(int, value.split(".")))


def _pack_ipv6(value: str) -> bytes:
    return IPAddress(value, 6).packed


def _pack_mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _pack_name(value: str) -> bytes:
    return value.encode().ljust(16, b"\0")


_WRITERS: dict[str, Callable[[str], bytes]] = {
    "ipv4_addr": _pack_ipv4,
    "ipv6_addr": _pack_ipv6,
    "ether_addr": _pack_mac,
    "ifname": _pack_name,
}
