"""Questions and answers in streams: several at once in each, in any order."""

import socket
from collections import Counter, deque
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from reconciler.dns.serving.framing import Frames, framed
from reconciler.dns.serving.query_handler import QueryHandler
from reconciler.dns.serving.upstream import Upstream
from reconciler.dns.wire import Query
from reconciler.runtime.clock import Clock

#: Connections at the same time, of all and of one asker.
MOST = 256
MOST_OF_ONE = 32
#: Seconds that a connection may stay without a question or progress of an answer.
IDLE = 10.0
#: No question is longer.
LONGEST = 4096
#: Questions of one connection that others are asked about at the same time, and
#: bytes that wait to be sent in it, beyond which no more is read.
MOST_UNDER_WAY = 32
MOST_UNSENT = 1 << 18
_AT_ONCE = 16384


class Streams:
    """One socket that takes connections, and these."""

    def __init__(
        self,
        listener: socket.socket,
        selector: BaseSelector,
        handler: QueryHandler,
        upstream: Upstream,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._handler = handler
        self._upstream = upstream
        self._clock = clock
        self._open: set[_Connection] = set()
        self._of_peer: Counter[str] = Counter()
        listener.setblocking(False)
        selector.register(listener, EVENT_READ, self._accept)

    def __len__(self) -> int:
        return len(self._open)

    def expire(self) -> None:
        """Close what stands still."""
        now = self._clock.monotonic()
        for connection in tuple(self._open):
            if connection.moved + IDLE <= now:
                connection.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in tuple(self._open):
            connection.close()

    def _accept(self, _events: int) -> None:
        try:
            channel, address = self._listener.accept()
        except OSError:
            # It went away before it was taken, or there is no descriptor left for it.
            return
        peer = address[0]
        if len(self._open) >= MOST or self._of_peer[peer] >= MOST_OF_ONE:
            channel.close()
            return
        self._of_peer[peer] += 1
        connection = _Connection(channel, peer, self._selector, self._clock, self._ask, self._left)
        self._open.add(connection)

    def _ask(self, connection: "_Connection", message: bytes) -> None:
        answer = self._handler.ask(message, connection.peer, stream=True)
        if isinstance(answer, Query):
            connection.under_way += 1
            self._upstream.ask(
                answer, message, connection.peer, connection.answer_later, stream=True
            )
        elif answer is not None:
            connection.answer(answer)

    def _left(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        self._of_peer[connection.peer] -= 1
        if not self._of_peer[connection.peer]:
            del self._of_peer[connection.peer]


class _Connection:
    """One connection; `moved` is when it last brought a question or took an answer."""

    def __init__(
        self,
        channel: socket.socket,
        peer: str,
        selector: BaseSelector,
        clock: Clock,
        ask: Callable[["_Connection", bytes], None],
        left: Callable[["_Connection"], None],
    ) -> None:
        self.peer = peer
        self.under_way = 0
        self.moved = clock.monotonic()
        self._channel = channel
        self._selector = selector
        self._clock = clock
        self._ask = ask
        self._left = left
        self._frames = Frames(LONGEST)
        self._messages: deque[bytes] = deque()
        self._unsent = bytearray()
        self._ended = False
        self._closed = False
        self._going_on = False
        self._events = EVENT_READ
        channel.setblocking(False)
        selector.register(channel, EVENT_READ, self._ready)

    def answer(self, message: bytes) -> None:
        """Send a message, now or as soon as the other side takes it."""
        if not self._closed:
            self._unsent += framed(message)
            self._send()

    def answer_later(self, message: bytes) -> None:
        """The answer to a question that others were asked about."""
        self.under_way -= 1
        self.answer(message)
        self._go_on()

    def close(self) -> None:
        """Close it; answers that come later are nobody's."""
        if not self._closed:
            self._closed = True
            if self._events:
                self._selector.unregister(self._channel)
            self._channel.close()
            self._left(self)

    def _ready(self, events: int) -> None:
        if events & EVENT_WRITE and not self._closed:
            self._send()
        if events & EVENT_READ and not self._closed:
            self._read()
        self._go_on()

    def _read(self) -> None:
        try:
            received = self._channel.recv(_AT_ONCE)
            self._messages.extend(self._frames.take(received))
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self.close()
            return
        self._ended = not received

    def _send(self) -> None:
        try:
            sent = self._channel.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if sent:
            self.moved = self._clock.monotonic()
            del self._unsent[:sent]

    def _go_on(self) -> None:
        """Ask what waits, as far as there is room for it; then wait for what comes next."""
        if self._going_on:
            # An answer came before its question was handed over.
            return
        self._going_on = True
        while self._messages and not self._closed and self._has_room():
            self.moved = self._clock.monotonic()
            self._ask(self, self._messages.popleft())
        self._going_on = False
        if self._closed:
            return
        idle = not (self._messages or self.under_way or self._unsent)
        if self._ended and idle:
            self.close()
            return
        self._expect()

    def _has_room(self) -> bool:
        return self.under_way < MOST_UNDER_WAY and len(self._unsent) < MOST_UNSENT

    def _expect(self) -> None:
        events = EVENT_WRITE if self._unsent else 0
        if not self._ended and not self._messages and self._has_room():
            events |= EVENT_READ
        if events == self._events:
            return
        # A selector takes no socket without an event: it is then left out.
        if not events:
            self._selector.unregister(self._channel)
        elif not self._events:
            self._selector.register(self._channel, events, self._ready)
        else:
            self._selector.modify(self._channel, events, self._ready)
        self._events = events
