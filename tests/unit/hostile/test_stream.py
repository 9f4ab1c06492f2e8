"""An event stream of any bytes: read to its end, then opened anew."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marathon_client.stream import Backoff, Connected, Disconnected, EventStream
from tests.unit.marathon_client.loopback import STREAM_HEAD, Loopback, raw, sse

GONE = sse("app_terminated_event", appId="/shop/web")
PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\n\n",
            b"\r\n\r\n",
            b":",
            b"data:",
            b"event:",
            b"id:",
            b"retry: -1",
        ),
        *(
            b"event: status_update_event",
            b"event: \xff",
            b'data: {"a":' * 50,
            b"data: " + b"[" * 9000,
        ),
        *(
            b'data: {"appId": 5, "taskStatus": [], "eventType": {}}',
            b"\0",
            b"\xef\xbb\xbf",
            b"\xf0\x9f",
        ),
        *(GONE, GONE[:-3], b"data: {}{}", b"\x1b[2J", b"HTTP/1.1 200 OK"),
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.lists(PIECES | st.binary(max_size=60), max_size=12).map(b"".join))
def test_any_bytes_are_read_and_the_stream_goes_on(body: bytes) -> None:
    answer = raw(STREAM_HEAD + body + b"\r\n\r\n" + GONE)
    with Loopback({"/v2/events": answer}) as server:
        source = EventStream([server.url], backoff=Backoff(least=0.001, most=0.002))
        told = []
        for item in source:
            told.append(item)
            if isinstance(item, Disconnected):
                break
        assert isinstance(told[0], Connected)
        assert isinstance(told[-1], Disconnected)
        assert told[-1].reason.isprintable()
        assert isinstance(next(iter(source)), Connected)
        source.stop()
