"""Events out of bytes, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_client.errors import MarathonUnavailable
from marathon_client.framing import Framer

ONE = b"event: a\r\ndata: 1\r\n\r\n"


def test_an_event_is_complete_with_its_blank_line_and_not_before() -> None:
    framer = Framer()
    assert framer.feed(b"event: a\r\ndata: 1\r\n") == []
    assert framer.feed(b"\r") == [b"event: a\ndata: 1\n\n"]
    assert framer.feed(b"\n") == []


def test_a_heartbeat_in_two_segments_ends_no_event() -> None:
    framer = Framer()
    assert framer.feed(ONE) == [b"event: a\ndata: 1\n\n"]
    for _ in range(3):
        assert framer.feed(b"\r") == []
        assert framer.feed(b"\n") == []
    assert framer.feed(b"event: b\r") == []
    assert framer.feed(b"\ndata: 2\r\n\r\n") == [b"event: b\ndata: 2\n\n"]


def test_what_is_left_at_the_end_is_never_an_event() -> None:
    assert Framer().feed(ONE + b"event: a\r\ndata: 1") == [b"event: a\ndata: 1\n\n"]


def test_an_event_that_grows_too_large_is_an_error() -> None:
    framer = Framer(most_bytes=100)
    framer.feed(b"data: " + b"x" * 80)
    with pytest.raises(MarathonUnavailable, match="larger than 100 bytes"):
        framer.feed(b"x" * 80)


def test_many_small_events_in_one_read_are_not_too_large() -> None:
    assert len(Framer(most_bytes=100).feed(ONE * 50)) == 50


@given(
    st.lists(st.sampled_from([b"event: a", b"data: 1", b"", b": note", b"data: \xc3\xbc"])),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.lists(st.integers(1, 7)),
)
def test_events_do_not_depend_on_where_reads_end(
    lines: list[bytes], ending: bytes, sizes: list[int]
) -> None:
    text = b"".join(line + ending for line in lines)
    whole = Framer().feed(text)
    framer, pieces, rest = Framer(), [], text
    for size in [*sizes, len(text)]:
        pieces += framer.feed(rest[:size])
        rest = rest[size:]
    assert pieces == whole
