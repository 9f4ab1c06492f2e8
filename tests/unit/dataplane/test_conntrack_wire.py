"""Tracked connections read from the bytes that a kernel sent."""

import struct

import pytest
from netaddr import IPAddress

from calico.dataplane.netlink.conntrack_wire import CT_NEW, Entry, connections, entries
from calico.dataplane.netlink.wire import attribute
from calico.dataplane.state import Connection

A, B, HOST = (bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2)), bytes((10, 77, 0, 1)))
NESTED = 0x8000
#: UDP from 10.9.1.226:1025 to 10.9.1.112:9000, as Linux 6.18 listed it.
LISTED = bytes.fromhex(
    "c00000000001220001000000c0290000020000003400018014000180080001000a0901e208000200"
    "0a0901701c0002800500010011000000060002000401000006000300232800003400028014000180"
    "080001000a090170080002000a0901e21c0002800500010011000000060002002328000006000300"
    "04010000080003000000000a080008000000000008000c00ba6088b408000b000000000108000700"
    "00000bb71c001880080001000000000008000200000000000800030000000000"
)


def side(direction: int, ends: tuple[bytes, bytes], protocol: bytes, first: int = 1) -> bytes:
    """One direction's attribute; `first` is 3 for IPv6 addresses."""
    addresses = b"".join(attribute(first + n, each) for n, each in enumerate(ends))
    return attribute(
        direction | NESTED, attribute(1 | NESTED, addresses) + attribute(2 | NESTED, protocol)
    )


def message(body: bytes, kind: int = CT_NEW) -> bytes:
    return struct.pack("=IHHII", 20 + len(body), kind, 2, 1, 0) + struct.pack("=I", 2) + body


def with_ports(number: int, source: int, destination: int) -> bytes:
    ports = (each.to_bytes(2, "big") for each in (source, destination))
    return attribute(1, bytes((number,))) + b"".join(map(attribute, (2, 3), ports))


def read(*messages: bytes, wanted: tuple[bytes, ...] = (A, B)) -> list[Entry]:
    return list(entries(b"".join(messages), frozenset(wanted)))


def test_a_listed_connection_is_read() -> None:
    (entry,) = read(LISTED, wanted=(bytes((10, 9, 1, 112)),))
    begun, ended = IPAddress("10.9.1.226"), IPAddress("10.9.1.112")
    assert connections([entry, entry]) == (Connection(17, begun, ended, ended, begun, 1025, 9000),)
    assert entry.replied


def test_a_connection_of_nobody_who_was_asked_for_is_left_out() -> None:
    assert read(LISTED) == []


#: As include/uapi/linux/netfilter/nf_conntrack_common.h numbers them.
CONFIRMED, SEEN_REPLY, ASSURED = 8, 2, 4


@pytest.mark.parametrize(
    ("status", "replied"),
    [
        pytest.param(CONFIRMED, False, id="nobody answered"),
        pytest.param(CONFIRMED | SEEN_REPLY, True, id="answered"),
        pytest.param(CONFIRMED | SEEN_REPLY | ASSURED, True, id="established"),
    ],
)
def test_the_usual_form_is_read_as_any_other(status: int, replied: bool) -> None:
    begun, answer = (
        side(1, (A, B), with_ports(6, 40000, 80)),
        side(2, (B, A), with_ports(6, 80, 40000)),
    )
    bits = attribute(3, status.to_bytes(4, "big"))
    first, second = read(message(begun + answer + bits), message(bits + answer + begun))
    assert first == second == Entry(6, A, B, B, A, 40000, 80, replied=replied)


def test_a_connection_that_is_answered_while_it_is_read_is_one() -> None:
    attempt = Entry(6, A, B, B, A, 40000, 80, replied=False)
    (found,) = connections([attempt, attempt._replace(replied=True)])
    assert found.replied


@pytest.mark.parametrize(
    ("body", "entry"),
    [
        pytest.param(
            side(1, (A, HOST), with_ports(6, 40000, 80))
            + side(2, (B, A), with_ports(6, 80, 40000)),
            Entry(6, A, HOST, B, A, 40000, 80),
            id="translated target",
        ),
        pytest.param(
            side(
                1, (A, B), b"".join(map(attribute, (1, 4, 5, 6), (b"\1", b"\0\7", b"\x08", b"\0")))
            )
            + side(2, (B, A), attribute(1, b"\1")),
            Entry(1, A, B, B, A, None, None, (8, 0, 7)),
            id="echo",
        ),
        pytest.param(
            side(1, (A, B), attribute(1, b"\xfd")) + side(2, (B, A), attribute(1, b"\xfd")),
            Entry(253, A, B, B, A, None, None),
            id="a protocol without ports",
        ),
        pytest.param(
            side(1, (A * 4, B * 4), with_ports(17, 5, 6), 3)
            + side(2, (B * 4, A * 4), with_ports(17, 6, 5), 3),
            Entry(17, A * 4, B * 4, B * 4, A * 4, 5, 6),
            id="IPv6",
        ),
    ],
)
def test_rarer_forms_are_read(body: bytes, entry: Entry) -> None:
    assert read(message(body), wanted=(A, A * 4)) == [entry]


def test_what_is_no_connection_is_passed_over() -> None:
    usual = side(1, (A, B), with_ports(6, 40000, 80)) + side(2, (B, A), with_ports(6, 80, 40000))
    done = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)
    assert len(read(message(b""), message(usual, kind=3), message(usual), done, b"\4")) == 1
