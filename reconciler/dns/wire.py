"""Messages as bytes; the one door to dnslib.

Questions are read by hand, since dnslib needs as long for one as the whole
answer takes, and looks into records that only have to be passed over. It packs
the records, which are then kept.
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import assert_never

import dnslib  # type: ignore[import-untyped]  # it has neither types nor stubs

from reconciler.dns.names import (
    Address,
    Delegate,
    Name,
    Pointer,
    Record,
    Service,
    labels_of,
    text_name,
)

TTL = 5
HEADER = Struct("!HHHHHH")
QUESTION_END = Struct("!HH")
HEADER_SIZE = 12
IN = 1
OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY = 41, 249, 250, 251, 252, 253, 254, 255

RESPONSE, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200
RECURSION_DESIRED, RECURSION_AVAILABLE = 0x0100, 0x0080
OPCODE = 0x7800

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16

#: The least that everyone can receive in a datagram, and the most that is sent
#: in one: what passes every network in one piece.
PLAIN_SIZE = 512
LARGEST_DATAGRAM = 1232
LARGEST_MESSAGE = 65535

#: Type, class, the four bytes of the TTL as EDNS divides them, length.
_RECORD = Struct("!HHBBHH")
#: Bytes of an EDNS record without options.
EXTENSION_SIZE = 1 + _RECORD.size
#: No record with a pointer for its name is smaller.
SMALLEST_RECORD = 16
#: Where an answer's name is the question's.
_POINTER = b"\xc0\x0c"
_KEPT_RECORDS = 65536


class Malformed(Exception):
    """No question can be read from the message."""


@dataclass(frozen=True, slots=True)
class Extension:
    """EDNS: how much the asker can receive, and the version that it speaks."""

    size: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `asked` is it as it came, `name` its name in lower case."""

    id: int
    flags: int
    asked: bytes
    name: Name
    kind: int
    category: int
    extension: Extension | None = None


def read_query(message: bytes) -> Query:
    """The question of a message; raises Malformed.

    Whatever else there is, such as a signature, is passed over.
    """
    if len(message) < HEADER_SIZE + 5:
        raise Malformed("it is too short")
    number, flags, questions, answers, authorities, additional = HEADER.unpack_from(message)
    if questions != 1:
        raise Malformed(f"{questions} questions")
    end = _end_of_name(message, HEADER_SIZE)
    after = end + 4
    if after > len(message):
        raise Malformed("the question is cut off")
    kind, category = QUESTION_END.unpack_from(message, end)
    extension = None
    if answers or authorities or additional:
        extension = _read_extension(message, after, answers + authorities, additional)
    # Lengths of labels stay as they are: they are below the letters.
    name = Name(message[HEADER_SIZE:end].lower())
    return Query(
        id=number,
        flags=flags,
        asked=message[HEADER_SIZE:after],
        name=name,
        kind=kind,
        category=category,
        extension=extension,
    )


def _end_of_name(message: bytes, at: int) -> int:
    start, size = at, len(message)
    while True:
        if at >= size:
            raise Malformed("the name is cut off")
        length = message[at]
        at += 1
        if not length:
            break
        if length > 63:
            raise Malformed("the name of the question is compressed")
        at += length
    if at - start > 255:
        raise Malformed("the name is too long")
    return at


def _read_extension(message: bytes, at: int, others: int, additional: int) -> Extension | None:
    """The OPT record among all records; the rest is passed over."""
    found: Extension | None = None
    for number in range(others + additional):
        is_plain = message[at : at + 1] == b"\0"
        at = _after_owner(message, at)
        if at + _RECORD.size > len(message):
            raise Malformed("a record is cut off")
        kind, size, _, version, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size + length
        if at > len(message):
            raise Malformed("a record is cut off")
        if kind == OPT and number >= others:
            if found is not None or not is_plain:
                raise Malformed("more than one OPT record, or one with a name")
            found = Extension(size, version)
    return found


def _after_owner(message: bytes, at: int) -> int:
    while at < len(message):
        length = message[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            break
        if length > 63:
            raise Malformed("a name of a kind that is not known")
    return at


@lru_cache(maxsize=_KEPT_RECORDS)
def pack_answer(record: Record) -> bytes:
    """A record whose name is the one that was asked for."""
    # The root, which is packed in its place, is one byte.
    return _POINTER + pack_record(Name(b"\0"), record)[1:]


def pack_record(name: Name, record: Record) -> bytes:
    """A record with its whole name."""
    match record:
        case Address(address) if address.version == 4:
            kind, data = dnslib.QTYPE.A, dnslib.A(str(address))
        case Address(address):
            kind, data = dnslib.QTYPE.AAAA, dnslib.AAAA(str(address))
        case Service(port, target):
            kind, data = dnslib.QTYPE.SRV, dnslib.SRV(0, 0, port, _label(target))
        case Pointer(target):
            kind, data = dnslib.QTYPE.PTR, dnslib.PTR(_label(target))
        case Delegate(target):
            kind, data = dnslib.QTYPE.NS, dnslib.NS(_label(target))
        case _:
            assert_never(record)
    return _packed(dnslib.RR(_label(name), kind, ttl=TTL, rdata=data))


def pack_authority(name: Name, server: Name, serial: int) -> bytes:
    """The SOA record of a zone, which tells how long to remember that a name is none."""
    times = (serial, 60, 60, 86400, TTL)
    data = dnslib.SOA(_label(server), _label(Name(b"\4root" + server)), times)
    return _packed(dnslib.RR(_label(name), dnslib.QTYPE.SOA, ttl=TTL, rdata=data))


def _packed(record: "dnslib.RR") -> bytes:
    # A buffer of its own for each: nothing in it may point elsewhere in a message.
    buffer = _Uncompressed()
    record.pack(buffer)
    return bytes(buffer.data)


class _Uncompressed(dnslib.DNSBuffer):  # type: ignore[misc] # dnslib has no types
    """Writes every name in full."""

    def encode_name(self, name: "dnslib.DNSLabel") -> None:
        """See DNSBuffer."""
        self.encode_name_nocompress(name)


def _label(name: Name) -> "dnslib.DNSLabel":
    return dnslib.DNSLabel(labels_of(name))


def pack_extension(rcode: int = NOERROR) -> bytes:
    """Our own EDNS record; it carries the upper bits of a code above 15."""
    return b"\0" + _RECORD.pack(OPT, LARGEST_DATAGRAM, rcode >> 4, 0, 0, 0)


def respond(
    query: Query,
    flags: int,
    *,
    answers: tuple[int, bytes] = (0, b""),
    authorities: tuple[int, bytes] = (0, b""),
    additional: tuple[int, bytes] = (0, b""),
) -> bytes:
    """An answer to a question; each section is a number of records and their bytes.

    The lower four bits of `flags` are the code. EDNS is answered with EDNS.
    """
    more, tail = additional
    if query.extension is not None:
        more, tail = more + 1, tail + pack_extension()
    kept = query.flags & (OPCODE | RECURSION_DESIRED)
    head = HEADER.pack(query.id, RESPONSE | flags | kept, 1, answers[0], authorities[0], more)
    return b"".join((head, query.asked, answers[1], authorities[1], tail))


def respond_error(message: bytes, code: int) -> bytes:
    """An answer to a message whose question cannot be read, or is not wanted."""
    number, flags = HEADER.unpack_from(message)[:2]
    return HEADER.pack(number, RESPONSE | flags & (OPCODE | RECURSION_DESIRED) | code, 0, 0, 0, 0)


def respond_bad_version(query: Query) -> bytes:
    """An answer to a version of EDNS that is not spoken."""
    flags = RESPONSE | query.flags & RECURSION_DESIRED | BADVERS & 0xF
    head = HEADER.pack(query.id, flags, 1, 0, 0, 1)
    return head + query.asked + pack_extension(BADVERS)


def shown(query: Query) -> str:
    """The question for a log line."""
    return f"{text_name(query.name)} {dnslib.QTYPE.get(query.kind)}"


def datagram_size(query: Query) -> int:
    """The largest datagram that the asker can be sent."""
    if query.extension is None:
        return PLAIN_SIZE
    return min(max(query.extension.size, PLAIN_SIZE), LARGEST_DATAGRAM)
