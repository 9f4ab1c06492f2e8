"""EventStream against real HTTP, well-behaved and not."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from marathon_client.endpoints import Credentials
from marathon_client.errors import MarathonError
from marathon_client.events import (
    EVENT_TYPES,
    AppTerminated,
    EverythingChanged,
    Subscribed,
    TaskStatus,
    Unreadable,
)
from marathon_client.models import AppId
from marathon_client.stream import (
    Backoff,
    Connected,
    Disconnected,
    EventStream,
    StreamItem,
)
from marathon_client.transport import Timeouts
from tests.unit.marathon_client.loopback import (
    STREAM_HEAD,
    Loopback,
    Reply,
    as_json,
    drip,
    in_turn,
    not_marathon,
    raw,
    reply,
    silence,
    sse,
    stream,
)

OPS = Credentials("ops", "s3cret")
QUICK = Timeouts(connect=2, read=0.8, total=1.2)
ATTACHED = sse("event_stream_attached", remoteAddress="10.0.0.9")
GONE = sse("app_terminated_event", appId="/shop/web")
NO_LEADER = as_json({"message": "There is no leader"}, "404 Not Found")
UNAUTHORIZED = reply(b"", "401 Unauthorized", "text/html")
HEARTBEAT = (b"\r", b"\n")


def marathon(events: Reply, leader: str | None = None) -> dict[str, Reply]:
    named = as_json({"leader": leader}) if leader else NO_LEADER
    return {"/v2/leader": named, "/v2/events": events}


def opened(urls: Sequence[str], **options: Any) -> EventStream:
    options.setdefault("backoff", Backoff(least=0.01, most=0.05))
    return EventStream(urls, **options)


def some(items: Iterator[StreamItem], count: int) -> list[StreamItem]:
    return [next(items) for _ in range(count)]


def reasons(items: Sequence[StreamItem]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Disconnected)]


def asked_for_events(server: Loopback) -> int:
    return server.paths().count("/v2/events")


def test_connecting_comes_first_and_says_where() -> None:
    with Loopback({}) as server:
        server.routes = marathon(stream(ATTACHED, GONE), server.authority)
        source = opened([server.url])
        items = some(iter(source), 3)
        source.stop()
    assert items == [
        Connected(server.url, server.authority),
        Subscribed(),
        AppTerminated(AppId("/shop/web")),
    ]


def test_the_request_is_exactly_what_marathon_wants() -> None:
    with Loopback(marathon(stream(ATTACHED))) as server:
        source = opened([server.url])
        some(iter(source), 2)
        source.stop()
    request = server.requests[-1]
    assert request.all("Accept") == ["text/event-stream"]
    assert request.all("Accept-Encoding") == ["identity"]
    assert request.all("Cache-Control") == ["no-cache"]
    assert [value for key, value in request.query if key == "event_type"] == list(EVENT_TYPES)
    assert ("plan-format", "light") in request.query


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(STREAM_HEAD, id="until the connection closes"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            id="chunked by a proxy",
        ),
    ],
)
def test_a_small_event_arrives_at_once_on_a_quiet_stream(head: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(GONE), GONE) if b"chunked" in head else GONE
    send = threading.Event()
    with Loopback(marathon(stream(send, chunk, head=head))) as server:
        source = opened([server.url])
        items = iter(source)
        assert isinstance(next(items), Connected)
        began = time.monotonic()
        send.set()
        assert next(items) == AppTerminated(AppId("/shop/web"))
        assert time.monotonic() - began < 1
        source.stop()


def test_heartbeats_in_two_segments_are_life_and_no_events() -> None:
    beats = [part for _ in range(6) for part in HEARTBEAT]
    parts = drip([STREAM_HEAD, *beats, GONE], 0.1)
    with Loopback(marathon(parts)) as server:
        source = opened([server.url], idle_timeout=0.8)
        items = some(iter(source), 3)
        source.stop()
    assert items[1] == AppTerminated(AppId("/shop/web"))
    assert "ended" in reasons(items)[0]


def test_a_stream_without_a_byte_for_the_idle_time_is_opened_anew() -> None:
    with Loopback(marathon(in_turn(stream(ATTACHED), stream(GONE)))) as server:
        source = opened([server.url], idle_timeout=0.2)
        items = some(iter(source), 5)
        source.stop()
    assert [type(item) for item in items] == [
        Connected, Subscribed, Disconnected, Connected, AppTerminated,
    ]  # fmt: skip
    assert "no answer in time" in reasons(items)[0]


def test_idle_time_zero_waits_for_ever() -> None:
    with Loopback(marathon(drip([STREAM_HEAD, GONE, b""], 0.3))) as server:
        source = opened([server.url], idle_timeout=0)
        assert next(iter(source)) == Connected(server.url, None)
        source.stop()


def test_an_event_cut_by_the_end_of_the_stream_is_dropped() -> None:
    whole_but_for_its_blank_line = GONE[:-2]
    with Loopback(marathon(stream(ATTACHED, whole_but_for_its_blank_line, hold=False))) as server:
        source = opened([server.url])
        items = some(iter(source), 4)
        source.stop()
    assert [type(item) for item in items] == [Connected, Subscribed, Disconnected, Connected]


def test_an_event_that_is_no_utf8_means_resync_and_the_stream_goes_on() -> None:
    bad = b"event: status_update_event\r\ndata: \xff\xfe\r\n\r\n"
    with Loopback(marathon(stream(bad, GONE))) as server:
        source = opened([server.url])
        items = some(iter(source), 3)
        source.stop()
    assert items[1:] == [
        EverythingChanged("an event was not UTF-8"),
        AppTerminated(AppId("/shop/web")),
    ]


def test_an_event_above_the_cap_drops_the_connection_with_a_reason() -> None:
    endless = [b"data: " + b"x" * 5000] * 99
    with Loopback(marathon(stream(*endless))) as server:
        source = opened([server.url], most_event_bytes=20_000)
        items = some(iter(source), 3)
        source.stop()
    assert [type(item) for item in items] == [Connected, Disconnected, Connected]
    assert "larger than 20000 bytes" in reasons(items)[0]


def test_a_large_event_below_the_cap_is_read_quickly() -> None:
    padding = "x" * 4_000_000
    big = sse("app_terminated_event", appId="/big", padding=padding)
    with Loopback(marathon(stream(big))) as server:
        source = opened([server.url])
        began = time.monotonic()
        assert some(iter(source), 2)[1] == AppTerminated(AppId("/big"))
        assert time.monotonic() - began < 2
        source.stop()


def test_comments_and_events_without_data_are_nothing() -> None:
    noise = b": note\r\n\r\nevent: app_terminated_event\r\n\r\nid: 5\r\nretry: 1\r\n\r\n"
    with Loopback(marathon(stream(noise, GONE))) as server:
        source = opened([server.url])
        assert some(iter(source), 2)[1] == AppTerminated(AppId("/shop/web"))
        source.stop()


def test_the_stream_is_opened_at_the_leader() -> None:
    with Loopback({}) as leader, Loopback({}) as standby:
        leader.routes = marathon(stream(GONE), leader.authority)
        standby.routes = marathon(silence, leader.authority)
        source = opened([standby.url, leader.url], credentials=OPS)
        assert next(iter(source)) == Connected(leader.url, leader.authority)
        source.stop()
        assert leader.requests[-1].all("Authorization") == [OPS.authorization]
        assert asked_for_events(standby) == 0


def test_an_unlisted_leader_never_sees_the_credentials() -> None:
    with Loopback({}) as leader, Loopback({}) as standby:
        leader.routes = marathon(stream(GONE))
        standby.routes = marathon(silence, leader.authority)
        source = opened([standby.url], credentials=OPS)
        assert next(iter(source)) == Connected(leader.url, leader.authority)
        source.stop()
        assert leader.requests[-1].all("Authorization") == []
        assert standby.requests[0].all("Authorization") == [OPS.authorization]


def unresolvable(_: Loopback) -> str:
    return "marathon.invalid:8080"


def itself(leader: Loopback) -> str:
    return leader.authority


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(itself, UNAUTHORIZED, id="wants credentials"),
        pytest.param(itself, raw(b""), id="closes at once"),
        pytest.param(itself, not_marathon(), id="is something else"),
        pytest.param(itself, silence, id="never answers"),
        pytest.param(unresolvable, silence, id="has a name that does not resolve"),
    ],
)
def test_when_the_unlisted_leader_is_of_no_use_a_listed_url_serves(
    name: Callable[[Loopback], str], answer: Reply
) -> None:
    with Loopback(marathon(answer)) as leader, Loopback({}) as standby:
        standby.routes = marathon(stream(GONE), name(leader))
        source = opened([standby.url], credentials=OPS, idle_timeout=0.3)
        assert next(iter(source)) == Connected(standby.url, name(leader))
        source.stop()
        assert standby.requests[-1].all("Authorization") == [OPS.authorization]


def test_the_next_url_is_tried_when_the_first_is_down() -> None:
    with (
        Loopback(marathon(reply(b"", "503 Service Unavailable", "text/html"))) as down,
        Loopback(marathon(stream(GONE))) as fine,
    ):
        source = opened([down.url, fine.url])
        assert next(iter(source)) == Connected(fine.url, None)
        source.stop()


def test_after_a_stream_has_ended_the_next_url_comes_first() -> None:
    with (
        Loopback(marathon(raw(STREAM_HEAD))) as one,
        Loopback(marathon(raw(STREAM_HEAD))) as other,
    ):
        source = opened([one.url, other.url])
        items = some(iter(source), 5)
        source.stop()
    urls = [item.url for item in items if isinstance(item, Connected)]
    assert urls == [one.url, other.url, one.url]


def redirect(location: str) -> Reply:
    return reply(b"", "302 Found", "text/html", Location=location)


def test_a_redirect_of_a_standby_is_followed_with_the_accept_header() -> None:
    with Loopback(marathon(stream(GONE))) as leader, Loopback({}) as standby:
        standby.routes = marathon(redirect(f"{leader.url}/v2/events?event_type=x"))
        source = opened([standby.url], credentials=OPS)
        assert next(iter(source)) == Connected(leader.url, None)
        source.stop()
        assert leader.requests[-1].all("Accept") == ["text/event-stream"]
        assert leader.requests[-1].all("Authorization") == []
        assert ("plan-format", "light") in leader.requests[-1].query


def test_a_redirect_to_a_listed_host_takes_the_credentials_along() -> None:
    with Loopback(marathon(stream(GONE))) as leader, Loopback({}) as standby:
        standby.routes = marathon(redirect(f"{leader.url}/v2/events"))
        source = opened([standby.url, leader.url], credentials=OPS)
        assert next(iter(source)) == Connected(leader.url, None)
        source.stop()
        assert leader.requests[-1].all("Authorization") == [OPS.authorization]


def test_an_unlisted_host_cannot_send_us_further() -> None:
    with Loopback(marathon(stream(GONE))) as third, Loopback({}) as other, Loopback({}) as listed:
        other.routes = marathon(redirect(f"{third.url}/v2/events"))
        listed.routes = marathon(redirect(f"{other.url}/v2/events"))
        source = opened([listed.url])
        (said,) = reasons(some(iter(source), 1))
        source.stop()
        assert "give that URL as well" in said
        assert third.requests == []


def test_redirects_in_a_circle_end() -> None:
    with Loopback({}) as server:
        server.routes = marathon(redirect("/v2/events"))
        source = opened([server.url])
        (said,) = reasons(some(iter(source), 1))
        source.stop()
        assert "redirects once more" in said
        assert asked_for_events(server) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(UNAUTHORIZED, "wants credentials (401)", id="401"),
        pytest.param(
            reply(b"", "405 Method Not Allowed", "text/html"),
            "no proxy changes the Accept header",
            id="405",
        ),
        pytest.param(reply(b"<p>", kind="text/html"), "text/html instead of an event", id="HTML"),
        pytest.param(reply(b"", "502 Bad Gateway"), "check that Marathon has a leader", id="502"),
        pytest.param(redirect("http://127.0.0.1:1/login"), "no event stream", id="login page"),
        pytest.param(reply(b"", "302 Found"), "redirects elsewhere", id="redirect to nowhere"),
        pytest.param(
            reply(b"", kind="text/event-stream", Content_Encoding="gzip"),
            "compressed by gzip",
            id="compressed",
        ),
        pytest.param(raw(b"\xff" * 50), "cannot be used", id="no HTTP"),
        pytest.param(drip([b"HTTP/1.1 100 Continue\r\n\r\n"] * 99, 0.1), "cannot", id="drips"),
    ],
)
def test_a_stream_that_cannot_be_opened_says_why_in_one_line(answer: Reply, said: str) -> None:
    with Loopback(marathon(answer)) as server:
        source = opened([server.url], timeouts=QUICK)
        began = time.monotonic()
        (reason,) = reasons(some(iter(source), 1))
        source.stop()
        assert time.monotonic() - began < 5
        assert server.url in reason
        assert said in reason
        assert reason.isprintable()


def test_the_password_never_shows() -> None:
    with Loopback(marathon(UNAUTHORIZED)) as server:
        source = opened([f"http://ops:s3cret@{server.authority}"])
        (reason,) = reasons(some(iter(source), 1))
        source.stop()
        assert "refuses the credentials given" in reason
        assert "s3cret" not in reason
        assert server.requests[-1].all("Authorization") == [OPS.authorization]


def test_an_end_right_after_the_headers_is_a_failure_and_pauses_grow() -> None:
    pauses: list[float] = []

    class Noted(Backoff):
        def pause(self, failures: int, jitter: float) -> float:
            pauses.append(super().pause(failures, jitter))
            return 0.0

    with Loopback(marathon(raw(STREAM_HEAD))) as server:
        source = opened([server.url], backoff=Noted(least=0.5, most=6), jitter=lambda: 1.0)
        some(iter(source), 11)
        source.stop()
    assert pauses == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_a_pause_is_never_shorter_than_the_least() -> None:
    for failures in (1, 5, 10_000):
        assert Backoff().pause(failures, jitter=0.0) == 0.5
        assert Backoff().pause(failures, jitter=1.0) <= 60.0


def test_a_stream_that_lived_long_enough_resets_the_pauses() -> None:
    asked: list[int] = []
    now = [0.0]

    class Noted(Backoff):
        def pause(self, failures: int, jitter: float) -> float:  # noqa: ARG002 - as overridden
            asked.append(failures)
            return 0.0

    with Loopback(marathon(raw(STREAM_HEAD))) as server:
        source = opened([server.url], backoff=Noted(), clock=lambda: now[0])
        items = iter(source)
        some(items, 6)
        assert isinstance(next(items), Connected)
        now[0] += 61.0
        some(items, 4)
        source.stop()
    assert asked == [1, 2, 3, 1, 1]


def _stop_soon(source: EventStream, server: Loopback, path: str) -> threading.Thread:
    def stop() -> None:
        while path not in server.paths():
            server.closing.wait(0.01)
        server.closing.wait(0.1)
        source.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("routes", "path"),
    [
        pytest.param(marathon(stream(ATTACHED)), "/v2/events", id="while it reads"),
        pytest.param(marathon(silence), "/v2/events", id="while it waits for headers"),
        pytest.param({"/v2/leader": silence}, "/v2/leader", id="while it asks for the leader"),
        pytest.param(marathon(UNAUTHORIZED), "/v2/events", id="while it pauses"),
    ],
)
def test_stop_from_another_thread_ends_the_reader_at_once(
    routes: dict[str, Reply], path: str
) -> None:
    with Loopback(routes) as server:
        source = EventStream([server.url], backoff=Backoff(least=30))
        thread = _stop_soon(source, server, path)
        began = time.monotonic()
        list(source)
        assert time.monotonic() - began < 2
        thread.join()


def test_a_stream_stopped_before_it_began_asks_nobody() -> None:
    with Loopback({}) as server:
        source = opened([server.url])
        source.stop()
        assert list(source) == []
        assert server.requests == []


def test_reconnect_drops_a_stream_that_hangs_on_a_deposed_leader() -> None:
    with Loopback(marathon(in_turn(stream(ATTACHED), stream(GONE)))) as server:
        source = opened([server.url])
        items = iter(source)
        some(items, 2)
        source.reconnect()
        later = some(items, 3)
        source.stop()
    assert [type(item) for item in later] == [Disconnected, Connected, AppTerminated]


def test_leaving_the_loop_closes_the_stream_quietly() -> None:
    with Loopback(marathon(stream(ATTACHED))) as server:
        source = opened([server.url])
        items = iter(source)
        some(items, 2)
        items.close()  # type: ignore[attr-defined]  # a generator
        assert not source.stats.connected


def test_stats_tell_where_how_often_and_how_long_ago() -> None:
    now = [100.0]
    cut = b"event: status_update_event\r\ndata: {\r\n\r\n"
    with Loopback(marathon(in_turn(stream(GONE, hold=False), stream(cut)))) as server:
        source = opened([server.url], clock=lambda: now[0])
        assert source.stats.since_byte is None
        assert not source.stats.connected
        items = iter(source)
        some(items, 3)
        assert source.stats.url is None
        assert isinstance(some(items, 2)[1], Unreadable)
        now[0] += 7.0
        stats = source.stats
        source.stop()
    assert stats.url == server.url
    assert (stats.connects, stats.failures) == (2, 1)
    assert (stats.events, stats.unreadable) == (2, 1)
    assert stats.since_byte == 7.0


def test_a_burst_of_events_is_read_whole_and_in_order() -> None:
    burst = b"".join(
        sse("status_update_event", appId="/a", taskId=f"a.{n}", taskStatus="TASK_RUNNING")
        for n in range(3000)
    )
    with Loopback(marathon(stream(burst))) as server:
        source = opened([server.url])
        items = some(iter(source), 3001)
        source.stop()
    tasks = [item.task_id for item in items if isinstance(item, TaskStatus)]
    assert tasks == [f"a.{n}" for n in range(3000)]


def test_without_urls_the_reason_is_said() -> None:
    source = opened([])
    (reason,) = reasons(some(iter(source), 1))
    source.stop()
    assert "list at least one" in reason


def test_a_url_that_can_be_none_is_refused_at_once() -> None:
    with pytest.raises(MarathonError):
        EventStream(["m1:8080"])
