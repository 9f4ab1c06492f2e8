"""Asks others about names that are not ours, each question from a port of its own."""

import errno
import logging
import random
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from reconciler.dns import wire
from reconciler.dns.names import Name
from reconciler.dns.serving.framing import Frames, framed
from reconciler.dns.wire import Query
from reconciler.runtime.clock import Clock
from reconciler.runtime.listener import ListenAddress

log = logging.getLogger(__name__)

#: Seconds that one of them has, and how often each question is asked at most.
PATIENCE = 1.0
STREAM_PATIENCE = 4.0
ATTEMPTS = 4
#: Questions under way, of all askers and of one.
MOST = 512
MOST_OF_ONE = 128

#: What connect says of a connection that is made, or under way.
_CONNECTING = (0, errno.EINPROGRESS)

Reply = Callable[[bytes], None]


@dataclass
class _Asked:
    """One question on its way; `number` is the id that it has there."""

    query: Query
    message: bytes
    peer: str
    reply: Reply
    stream: bool
    resolvers: tuple[ListenAddress, ...]
    number: int = 0
    attempt: int = 0
    channel: socket.socket | None = None
    deadline: float = 0.0
    unsent: bytes = b""
    frames: Frames = field(default_factory=Frames)


class Upstream:
    """Passes questions on and their answers back; owned by the serving thread."""

    def __init__(
        self,
        resolvers_of: Callable[[Name], tuple[ListenAddress, ...]],
        selector: BaseSelector,
        clock: Clock,
        fail: Callable[[Query], bytes],
    ) -> None:
        self._resolvers_of = resolvers_of
        self._selector = selector
        self._clock = clock
        self._fail = fail
        #: Ids must not be guessed by whoever could forge an answer.
        self._chance = random.SystemRandom()
        self._under_way: dict[int, _Asked] = {}
        self._of_peer: Counter[str] = Counter()
        #: In the order of their deadlines, one queue for each patience.
        self._due: dict[bool, deque[tuple[float, int, int]]] = {False: deque(), True: deque()}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def ask(self, query: Query, message: bytes, peer: str, reply: Reply, *, stream: bool) -> None:
        """Have a question answered: by others, or by a failure after some seconds."""
        if len(self._under_way) >= MOST or self._of_peer[peer] >= MOST_OF_ONE:
            reply(self._fail(query))
            return
        self._serial += 1
        asked = _Asked(
            query=query,
            message=message,
            peer=peer,
            reply=reply,
            stream=stream,
            resolvers=self._resolvers_of(query.name),
        )
        self._under_way[self._serial] = asked
        self._of_peer[peer] += 1
        self._try(self._serial, asked)

    def expire(self) -> None:
        """Ask the next one where one has not answered in time."""
        now = self._clock.monotonic()
        for queue in self._due.values():
            while queue and queue[0][0] <= now:
                _, serial, attempt = queue.popleft()
                asked = self._under_way.get(serial)
                if asked is not None and asked.attempt == attempt:
                    self._try_again(serial, asked)

    def close(self) -> None:
        """Forget all questions."""
        for serial in tuple(self._under_way):
            self._forget(serial)

    def _try(self, serial: int, asked: _Asked) -> None:
        while asked.attempt < ATTEMPTS:
            resolver = asked.resolvers[asked.attempt % len(asked.resolvers)]
            asked.attempt += 1
            try:
                self._open(serial, asked, resolver)
            except OSError as error:
                self._close(asked)
                log.debug(
                    "resolver not asked", extra={"resolver": str(resolver), "why": str(error)}
                )
                continue
            patience = STREAM_PATIENCE if asked.stream else PATIENCE
            asked.deadline = self._clock.monotonic() + patience
            self._due[asked.stream].append((asked.deadline, serial, asked.attempt))
            return
        reply, query = asked.reply, asked.query
        self._forget(serial)
        reply(self._fail(query))

    def _try_again(self, serial: int, asked: _Asked) -> None:
        self._close(asked)
        if asked.stream and asked.attempt >= len(asked.resolvers):
            asked.attempt = ATTEMPTS
        self._try(serial, asked)

    def _open(self, serial: int, asked: _Asked, resolver: ListenAddress) -> None:
        family = socket.AF_INET6 if ":" in resolver.host else socket.AF_INET
        kind = socket.SOCK_STREAM if asked.stream else socket.SOCK_DGRAM
        asked.channel = channel = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        asked.number = self._chance.getrandbits(16)
        question = asked.number.to_bytes(2) + asked.message[2:]
        if asked.stream:
            asked.unsent, asked.frames = framed(question), Frames()
            code = channel.connect_ex((resolver.host, resolver.port))
            if code not in _CONNECTING:
                raise OSError(code, "no connection")
            events = EVENT_READ | EVENT_WRITE
        else:
            # The kernel then passes on only what comes from there, to this port.
            channel.connect((resolver.host, resolver.port))
            channel.send(question)
            events = EVENT_READ
        self._selector.register(channel, events, lambda _: self._ready(serial))

    def _ready(self, serial: int) -> None:
        asked = self._under_way.get(serial)
        if asked is None or asked.channel is None:
            return
        try:
            answers = self._read_stream(asked) if asked.stream else self._read_datagram(asked)
        except BlockingIOError:
            return
        except OSError:
            # Nobody listens there: the next one need not wait.
            self._try_again(serial, asked)
            return
        for answer in answers:
            if _belongs(answer, asked):
                reply = asked.reply
                self._forget(serial)
                reply(asked.query.id.to_bytes(2) + answer[2:])
                return

    @staticmethod
    def _read_datagram(asked: _Asked) -> list[bytes]:
        assert asked.channel is not None
        return [asked.channel.recv(wire.LARGEST_MESSAGE)]

    def _read_stream(self, asked: _Asked) -> list[bytes]:
        channel = asked.channel
        assert channel is not None
        if asked.unsent:
            sent = channel.send(asked.unsent)
            asked.unsent = asked.unsent[sent:]
            if not asked.unsent:
                key = self._selector.get_key(channel)
                self._selector.modify(channel, EVENT_READ, key.data)
        received = channel.recv(wire.LARGEST_MESSAGE)
        if not received:
            raise ConnectionResetError("it closed the connection")
        return asked.frames.take(received)

    def _close(self, asked: _Asked) -> None:
        channel, asked.channel = asked.channel, None
        if channel is not None:
            if channel in self._selector.get_map():
                self._selector.unregister(channel)
            channel.close()

    def _forget(self, serial: int) -> None:
        asked = self._under_way.pop(serial)
        self._close(asked)
        self._of_peer[asked.peer] -= 1
        if not self._of_peer[asked.peer]:
            del self._of_peer[asked.peer]


def _belongs(answer: bytes, asked: _Asked) -> bool:
    """Whether it answers this very question."""
    question = asked.query.asked
    return (
        len(answer) >= wire.HEADER_SIZE
        and answer[:2] == asked.number.to_bytes(2)
        and bool(answer[2] & 0x80)
        # One that could not read the question, or will not, need not repeat it.
        and (
            answer[wire.HEADER_SIZE : wire.HEADER_SIZE + len(question)].lower() == question.lower()
            or (answer[4:6] == b"\0\0" and answer[3] & 0xF != wire.NOERROR)
        )
    )
