"""Marathon's event stream: endless, reconnecting, one thread.

The stream replays nothing. So every connection is announced, and whoever
listens reads the whole state after each announcement.
"""

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import requests
import sseclient
import tenacity

from marathon_client.client import MarathonClient
from marathon_client.endpoints import (
    USUAL_TLS,
    Endpoint,
    Identity,
    TlsFiles,
    leader_endpoint,
    parse_endpoint,
    redirect_target,
)
from marathon_client.errors import (
    MarathonError,
    MarathonRejected,
    MarathonUnavailable,
    all_failed,
    one_line,
)
from marathon_client.events import (
    EVENT_TYPES,
    EverythingChanged,
    MarathonEvent,
    Unreadable,
    parse_event,
)
from marathon_client.framing import MOST_EVENT_BYTES, Framer
from marathon_client.transport import (
    HTTP_ERRORS,
    Timeouts,
    Transport,
    media_type,
    refusal,
    unreachable,
)

_PATH = "/v2/events"
_PARAMS = (*(("event_type", name) for name in EVENT_TYPES), ("plan-format", "light"))
# Marathon compares the value of Accept for equality, and a compressed stream
# would wait in the compressor's buffer.
_HEADERS = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
_MOST_REDIRECTS = 2
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Connected:
    """A stream is open: whatever happened before is unknown, so resync now."""

    url: str
    leader: str | None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A stream ended, or none could be opened; one line that says why."""

    reason: str


StreamItem = Connected | Disconnected | MarathonEvent


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds: least and most pause, and the life after which a stream was good."""

    least: float = 0.5
    most: float = 60.0
    good_after: float = 60.0

    def pause(self, failures: int, jitter: float) -> float:
        """Full jitter between the least and an upper bound that doubles each time."""
        upper = min(self.most, self.least * 2.0 ** min(failures, 32))
        return self.least + jitter * (upper - self.least)


@dataclass(frozen=True, slots=True)
class StreamStats:
    """The stream at one moment; ages are seconds, None before the first."""

    url: str | None
    leader: str | None
    connects: int
    failures: int
    events: int
    unreadable: int
    since_byte: float | None

    @property
    def connected(self) -> bool:
        """True while a stream is open."""
        return self.url is not None


class EventStream:
    """Iterate in one thread; stop, reconnect and stats are for any thread."""

    def __init__(
        self,
        urls: Sequence[str],
        credentials: Identity | None = None,
        *,
        tls: TlsFiles = USUAL_TLS,
        timeouts: Timeouts = Timeouts(read=10.0, total=12.0),  # noqa: B008 - a frozen value
        idle_timeout: float = 35.0,
        backoff: Backoff = Backoff(),
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        stop: threading.Event | None = None,
        most_event_bytes: int = MOST_EVENT_BYTES,
    ) -> None:
        self._endpoints = tuple(parse_endpoint(url, credentials) for url in urls)
        self._client = MarathonClient(urls, credentials, timeouts, tls=tls)
        self._timeouts = timeouts
        self._idle_timeout = idle_timeout
        self._backoff = backoff
        self._jitter = jitter
        self._clock = clock
        self._stop = stop or threading.Event()
        self._most_event_bytes = most_event_bytes
        self._transport = Transport(tls)
        self._first = 0
        self._connected: Connected | None = None
        self._connects = self._failures = self._events = self._unreadable = 0
        self._last_byte: float | None = None

    def __iter__(self) -> Iterator[StreamItem]:
        """Blocks; ends only after stop()."""
        while not self._stop.is_set():
            for attempt in self._attempts():
                if self._stop.is_set():
                    return
                error, lived = yield from self._one_stream()
                if self._stop.is_set():
                    return
                self._failures += 1
                self._first += 1
                yield Disconnected(str(error))
                # Outside of the yields: an attempt swallows what is raised in it.
                with attempt:
                    if lived < self._backoff.good_after:
                        raise error
            # A stream that was good: begin anew, but not all consumers at once.
            self._pause(self._backoff.pause(1, self._jitter()))

    def stop(self) -> None:
        """Wakes the reader at once, wherever it waits, and ends it."""
        self._stop.set()
        self._client.close()
        self._transport.close()

    def reconnect(self) -> None:
        """Drops the open stream, as when it hangs on a deposed leader."""
        self._transport.cut()

    @property
    def stats(self) -> StreamStats:
        """A snapshot for metrics."""
        now, open_now = self._clock(), self._connected
        return StreamStats(
            url=open_now.url if open_now else None,
            leader=open_now.leader if open_now else None,
            connects=self._connects,
            failures=self._failures,
            events=self._events,
            unreadable=self._unreadable,
            since_byte=None if self._last_byte is None else now - self._last_byte,
        )

    def _attempts(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            wait=lambda state: self._backoff.pause(state.attempt_number, self._jitter()),
            sleep=self._pause,
            retry=tenacity.retry_if_exception_type(MarathonError),
        )

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _one_stream(self) -> Generator[StreamItem, None, tuple[MarathonError, float]]:
        """One stream from its opening to its end: why it ended, how long it lived."""
        try:
            response, endpoint, leader = self._open()
        except MarathonError as error:
            return error, 0.0
        opened = self._clock()
        self._connects += 1
        self._last_byte = opened
        self._connected = Connected(endpoint.url, leader)
        ended: MarathonError = MarathonUnavailable(f"the event stream of {endpoint.url} ended")
        try:
            with response:
                yield self._connected
                yield from self._read(response)
        except MarathonError as error:
            ended = MarathonUnavailable(f"the event stream of {endpoint.url}: {error}")
        except HTTP_ERRORS as error:
            ended = unreachable(endpoint, error)
        finally:
            self._connected = None
        return ended, self._clock() - opened

    def _read(self, response: requests.Response) -> Iterator[MarathonEvent]:
        framer = Framer(self._most_event_bytes)
        # read1 gives what is there; iter_content would wait for a full buffer.
        while chunk := response.raw.read1(_CHUNK):
            self._last_byte = self._clock()
            for block in framer.feed(chunk):
                yield from self._parse(block)

    def _parse(self, block: bytes) -> Iterator[MarathonEvent]:
        try:
            messages = list(sseclient.SSEClient(iter([block])).events())
        except UnicodeDecodeError:
            self._unreadable += 1
            yield EverythingChanged("an event was not UTF-8")
            return
        for message in messages:
            event = parse_event(message.event, message.data)
            self._events += 1
            self._unreadable += isinstance(event, Unreadable)
            yield event

    def _open(self) -> tuple[requests.Response, Endpoint, str | None]:
        """The leader's stream, else that of a listed endpoint."""
        candidates: list[Endpoint] = []
        leader = None
        try:
            named = self._client.named_leader()
        except MarathonError:
            # The stream itself will tell what is wrong, or works all the same.
            named = None
        if named:
            leader, named_by = named
            target = leader_endpoint(leader, named_by, self._endpoints)
            candidates += [target] if target else []
        start = self._first % max(len(self._endpoints), 1)
        candidates += self._endpoints[start:] + self._endpoints[:start]
        errors: list[MarathonError] = []
        for candidate in dict.fromkeys(candidates):
            try:
                response, endpoint = self._follow(candidate)
            except MarathonError as error:
                errors.append(error)
            else:
                return response, endpoint, leader
        raise all_failed(errors)

    def _follow(self, endpoint: Endpoint) -> tuple[requests.Response, Endpoint]:
        """A standby of 1.7 and later redirects; only a listed one may send us off its list."""
        listed = {known.origin for known in self._endpoints}
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._ask(endpoint)
            if not isinstance(response, str):
                return response, endpoint
            target = redirect_target(response, endpoint, self._endpoints)
            if target is None:
                raise MarathonRejected(
                    f"{endpoint.url}{_PATH} redirects to {one_line(response)!r}, no event stream:"
                    " check that the URL is that of a Marathon"
                )
            if target.origin not in listed and endpoint.origin not in listed:
                raise MarathonRejected(
                    f"{endpoint.url}{_PATH} redirects on to {target.url}: give that URL as well"
                )
            endpoint = target
        raise MarathonRejected(f"{endpoint.url}{_PATH} redirects once more: give the leader's URL")

    def _ask(self, endpoint: Endpoint) -> requests.Response | str:
        """The open stream, or where a redirect leads."""
        timeouts = Timeouts(self._timeouts.connect, self._idle_timeout, self._timeouts.total)
        try:
            with self._transport.deadline(timeouts.total):
                response = self._transport.ask(endpoint, _PATH, _PARAMS, _HEADERS, timeouts)
        except HTTP_ERRORS as error:
            raise unreachable(endpoint, error) from error
        status, kind = response.status_code, media_type(response)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if status == 200 and kind == "text/event-stream" and encoding == "identity":
            return response
        response.close()
        location = response.headers.get("Location")
        if status in {301, 302, 303, 307, 308} and location:
            return location
        if status == 401 and endpoint.credentials is None and self._is_unlisted(endpoint):
            raise MarathonRejected(
                f"the leader at {endpoint.url} wants credentials, which go only to the URLs"
                " given: give its URL as well"
            )
        if status != 200:
            raise refusal(endpoint, _PATH, status, b"")
        what = f"a stream compressed by {encoding}" if kind == "text/event-stream" else kind
        raise MarathonUnavailable(
            f"{endpoint.url}{_PATH} answers {one_line(what) or 'no type'} instead of an event"
            " stream: check that the URL is that of a Marathon, and what stands in between"
        )

    def _is_unlisted(self, endpoint: Endpoint) -> bool:
        return all(endpoint.origin != known.origin for known in self._endpoints)
