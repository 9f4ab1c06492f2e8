"""The event stream: bounded buffers for many readers, and Jetty's framing."""

from __future__ import annotations

import enum
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from demo.marathon.era import Era, PlanForm
from demo.marathon.faults import Faults
from demo.marathon.replies.events import Event, stream_attached, stream_detached

HALF_AN_EVENT = b'event: status_update_event\r\ndata: {"eventType":"status_up'


class Cut(enum.StrEnum):
    """How a stream is ended by a fault."""

    NOW = "now"
    MID_EVENT = "mid-event"


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What one client asked for."""

    remote_address: str
    names: frozenset[str] = frozenset()
    plan_format: str | None = None

    def in_era(self, era: Era) -> StreamRequest:
        """The same without what that era does not know."""
        return StreamRequest(
            self.remote_address, self.names if era.filters_events else frozenset(), self.plan_format
        )

    def is_light(self, era: Era) -> bool:
        """True if plans come without their two group trees."""
        match era.plan_form:
            case PlanForm.FULL:
                return False
            case PlanForm.ON_REQUEST:
                return self.plan_format == "light"
            case PlanForm.LIGHT_UNLESS_FULL:
                return self.plan_format != "full"
            case PlanForm.LIGHT:
                return True


class Subscriber:
    """One client's queue; filled by the loop, emptied by the client's own thread."""

    def __init__(self, request: StreamRequest, era: Era, limit: int) -> None:
        self.request = request.in_era(era)
        self._light = request.is_light(era)
        self._limit = limit
        self._closes_when_full = era.closes_slow_streams
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, Event]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._cut: Cut | None = None

    def offer(self, event: Event, due: float, *, first: bool = False) -> None:
        """Queue an event, or jump the queue; a full one drops it or ends the stream by era."""
        with self._lock:
            if len(self._waiting) < self._limit:
                add = self._waiting.appendleft if first else self._waiting.append
                add((due, event))
            elif self._closes_when_full:
                self._cut = Cut.NOW
            os.eventfd_write(self._wake, 1)

    def end(self, how: Cut) -> None:
        """Let the client's thread close the connection."""
        with self._lock:
            self._cut = how
            os.eventfd_write(self._wake, 1)

    def serve(
        self,
        connection: socket.socket,
        heartbeat: float,
        faults: Faults,
        pack: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Write events and heartbeats, packed if asked for, until either side ends the stream."""

        def send(data: bytes) -> None:
            connection.sendall(data if pack is None else pack(data))

        poller = select.poll()
        poller.register(connection, select.POLLIN | select.POLLRDHUP)
        poller.register(self._wake, select.POLLIN)
        # Counted from the last heartbeat, not from the last event.
        next_beat = time.monotonic() + heartbeat
        while True:
            moment = min([next_beat, *self._due_moments()])
            pause = max(0.0, moment - time.monotonic())
            for descriptor, _ in poller.poll(int(pause * 1000) + 1):
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                elif not connection.recv(4096):
                    return
            frames, cut = self._take(time.monotonic())
            for frame in frames:
                send(frame)
            if cut is not None:
                if cut is Cut.MID_EVENT:
                    send(HALF_AN_EVENT)
                return
            if time.monotonic() >= next_beat:
                next_beat += heartbeat
                if faults.heartbeat:
                    # Two flushes, as Jetty's servlet does: mostly two segments.
                    send(b"\r")
                    send(b"\n")

    def close(self) -> None:
        """Give the wake-up descriptor back; nothing is offered any more."""
        with self._lock:
            os.close(self._wake)

    def _due_moments(self) -> list[float]:
        with self._lock:
            return [self._waiting[0][0]] if self._waiting else []

    def _take(self, now: float) -> tuple[list[bytes], Cut | None]:
        frames = []
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now:
                event = self._waiting.popleft()[1]
                # The filter comes behind the buffer: it saves nobody from a full one.
                if not self.request.names or event.name in self.request.names:
                    body = event.light if self._light else event.body
                    frames.append(render_frame(event.name, body))
            return frames, self._cut


def render_frame(name: str, body: object) -> bytes:
    """One event on the wire: CRLF, one line of data, an empty line."""
    return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), msgspec.json.encode(body))


class Hub:
    """All clients of the stream."""

    def __init__(
        self, era: Era, faults: Faults, now: Callable[[], str], outstanding: int | None = None
    ) -> None:
        self._era = era
        self._outstanding = outstanding or era.outstanding_events
        self._faults = faults
        self._now = now
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []

    def publish(self, event: Event) -> None:
        """Offer an event to every client, as far as no fault forbids it."""
        due = time.monotonic() + self._faults.event_delay
        with self._lock:
            for _ in range(self._faults.copies_of(event.name)):
                for subscriber in self._subscribers:
                    subscriber.offer(event, due, first=self._faults.youngest_first)

    def attach(self, request: StreamRequest) -> Subscriber:
        """A new client; everybody, it included, is told so."""
        subscriber = Subscriber(request, self._era, self._outstanding)
        with self._lock:
            self._subscribers.append(subscriber)
        self.publish(stream_attached(self._now(), request.remote_address))
        return subscriber

    def detach(self, subscriber: Subscriber) -> None:
        """A client is gone; the others are told so."""
        with self._lock:
            self._subscribers.remove(subscriber)
        subscriber.close()
        self.publish(stream_detached(self._now(), subscriber.request.remote_address))

    def end_all(self, how: Cut) -> None:
        """End every stream that is open now."""
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.end(how)
