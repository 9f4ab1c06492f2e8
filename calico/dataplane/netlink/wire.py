"""Netlink's framing: messages, their answers, and attributes; pure."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLM_F_REQUEST = 0x1
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel; `what` names it for people."""

    what: str
    kind: int
    flags: int
    body: bytes

    def packed(self, sequence: int) -> bytes:
        """The message as it is sent."""
        size = _HEADER.size + len(self.body)
        return _HEADER.pack(size, self.kind, self.flags | NLM_F_REQUEST, sequence, 0) + self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """One message from the kernel."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def split_replies(data: bytes) -> Iterator[Reply]:
    """The messages in one datagram from the kernel."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size:
            return
        yield Reply(
            kind=kind,
            flags=flags,
            sequence=sequence,
            body=data[offset + _HEADER.size : offset + size],
        )
        offset += (size + 3) & ~3


def ending(data: bytes) -> Reply | None:
    """The message in a datagram that ends a list, None if more is to come."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if kind in (NLMSG_ERROR, NLMSG_DONE) or size < _HEADER.size:
            return Reply(
                kind=kind,
                flags=flags,
                sequence=sequence,
                body=data[offset + _HEADER.size : offset + size],
            )
        offset += (size + 3) & ~3
    return None


def error_code(body: bytes) -> int:
    """The errno in an NLMSG_ERROR or NLMSG_DONE, 0 for none."""
    return -int(_ERROR.unpack_from(body)[0]) if len(body) >= _ERROR.size else 0


def explanation(reply: Reply) -> str:
    """The kernel's own words on a refusal, empty when it has none."""
    if not reply.flags & NLM_F_ACK_TLVS:
        return ""
    # A refused request's own header is repeated after the errno.
    offset = _ERROR.size + (_HEADER.size if reply.kind == NLMSG_ERROR else 0)
    return string(attributes(reply.body, offset).get(NLMSGERR_ATTR_MSG, b""))


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size & 3)


def number(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a text."""
    return attribute(kind, value.encode() + b"\0")


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """The attributes from an offset on, by kind; of equal kinds the last."""
    found: dict[int, bytes] = {}
    end = len(body)
    while offset + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(body, offset)
        if size < 4:
            break
        found[kind & NLA_TYPE_MASK] = body[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


def string(value: bytes) -> str:
    """The text in an attribute."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def integer(value: bytes | None) -> int:
    """The 32 bits in an attribute, 0 for none."""
    return 0 if value is None else int(struct.unpack("=I", value)[0])


def signed(value: bytes | None) -> int:
    """The signed 32 bits in an attribute, -1 for none."""
    return -1 if value is None else int(struct.unpack("=i", value)[0])
