"""One door: what comes in passes to a server, and a fault decides how its answers come back."""

from __future__ import annotations

import asyncio
import enum
import random
import re
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field

PIECE = 1 << 16
CONNECT_SECONDS = 5.0
WRITES = ("PUT", "POST", "DELETE")
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
#: A member of etcd says so to others where it is found itself.
_SPEAKER = re.compile(rb"X-PeerURLs: ([^\s,]+)", re.IGNORECASE)


class Fault(enum.StrEnum):
    """What happens to what passes."""

    NONE = "none"
    #: Each piece waits, either way.
    DELAY = "delay"
    #: Every connection is reset, the next ones as well.
    CUT = "cut"
    #: Requests arrive; instead of the answer the connection ends.
    SWALLOW = "swallow"
    #: The connection ends within the answer.
    TRUNCATE = "truncate"
    #: The answer is noise, wholly or after its head.
    GARBAGE = "garbage"
    #: Connections are accepted, and nothing passes either way.
    BLACK_HOLE = "black-hole"


@dataclass(frozen=True, slots=True)
class _Broken:
    kind: Fault
    seconds: float


_WHOLE = _Broken(Fault.NONE, 0.0)
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """HOST:PORT, or an URL of nothing more."""
    host, colon, port = text.removeprefix("http://").rpartition(":")
    if not colon:
        raise ValueError(f"{text}: HOST:PORT is meant")
    return Address(host, int(port))


@dataclass
class Noise:
    """Bytes that mean nothing, the same for the same seed."""

    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def spoil(self, piece: bytes) -> bytes:
        """As many bytes; half of the time the head of an answer is left as it is."""
        head, end, body = piece.partition(b"\r\n\r\n")
        if end and body and self.chance.random() < 0.5:
            return head + end + self.chance.randbytes(len(body))
        return self.chance.randbytes(len(piece))


class Door:
    """Passes connections on to `upstream`; used within one event loop, but for what is counted.

    `seen` are the HTTP requests that the server has answered, in order. The
    answer to the write with the number `swallow`, counted by `writes` from 0,
    never comes back, whatever the fault is. A member of etcd may have a fault of
    its own at the door of another: it is known once it has said who it is.
    """

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.listens = upstream
        self.writes = 0
        self.swallow: int | None = None
        self.seen: list[tuple[str, str]] = []
        self._counted = threading.Condition()
        self._broken: dict[str, _Broken] = {}
        self._noise = Noise()
        self._switched = asyncio.Event()
        self._links: set[_Link] = set()

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"http://{self.listens}"

    def await_reads(self, count: int, seconds: float = 30.0) -> None:
        """Return once so many reads were answered."""
        with self._counted:
            if not self._counted.wait_for(lambda: self._reads() >= count, seconds):
                raise TimeoutError(f"{self._reads()} of {count} reads came")

    async def listen(self, at: Address) -> asyncio.Server:
        """Begin to accept; port 0 is any free one."""
        server = await asyncio.start_server(self._accept, at.host, at.port, backlog=256)
        host, port, *_ = server.sockets[0].getsockname()
        self.listens = Address(host, port)
        return server

    async def switch(self, fault: Fault, seconds: float, speaker: str = EVERYBODY) -> None:
        """From now on this happens; `seconds` is for how long each piece is delayed.

        A `speaker` is the URL of a member: then it happens to what passes between
        that one and the server, and to nothing else.
        """
        self._broken[speaker] = _Broken(fault, seconds)
        self._switched.set()
        self._switched = asyncio.Event()
        if fault is Fault.CUT:
            for link in list(self._links):
                if speaker in (EVERYBODY, link.speaker):
                    link.reset()

    def close(self) -> None:
        """Reset what is still open."""
        for link in list(self._links):
            link.reset()

    async def admit(self, speaker: str) -> bool:
        """Hold a request back as long as the fault asks for; False if it never passes."""
        while self._fault(speaker).kind is Fault.BLACK_HOLE:
            await self._switched.wait()
        if self._fault(speaker).kind is Fault.DELAY:
            await asyncio.sleep(self._fault(speaker).seconds)
        return self._fault(speaker).kind is not Fault.CUT

    async def answer(
        self, piece: bytes, request: tuple[str, str] | None, speaker: str
    ) -> tuple[bytes, bool]:
        """What of a piece of an answer comes back, and whether the connection goes on."""
        if request is not None and self._loses(*request):
            return b"", False
        if not await self.admit(speaker):
            return b"", False
        match self._fault(speaker).kind:
            case Fault.SWALLOW:
                return b"", False
            case Fault.TRUNCATE:
                return piece[: len(piece) // 2], False
            case Fault.GARBAGE:
                return self._noise.spoil(piece), True
            case _:
                return piece, True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def _fault(self, speaker: str) -> _Broken:
        of_all = self._broken.get(EVERYBODY, _WHOLE)
        return of_all if of_all.kind is not Fault.NONE else self._broken.get(speaker, _WHOLE)

    def _loses(self, method: str, path: str) -> bool:
        with self._counted:
            self.seen.append((method, path))
            self._counted.notify_all()
            if method not in WRITES:
                return False
            number, self.writes = self.writes, self.writes + 1
            return number == self.swallow

    def _reads(self) -> int:
        return sum(method == "GET" for method, _ in self.seen)


class _Link:
    """One connection and the one behind it."""

    def __init__(
        self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._door = door
        self._reader = reader
        self._writers = [writer]
        self._request: tuple[str, str] | None = None
        #: The URL of the member of etcd that asks; of anybody else nothing is known.
        self.speaker = EVERYBODY

    def reset(self) -> None:
        """End both sides at once, without a word."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                # Else what was not sent yet still is.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def run(self) -> None:
        """Pass on until either side ends."""
        try:
            if not await self._door.admit(self.speaker):
                self.reset()
                return
            upstream = self._door.upstream
            async with asyncio.timeout(CONNECT_SECONDS):
                answers, behind = await asyncio.open_connection(upstream.host, upstream.port)
            self._writers.append(behind)
            either = [
                asyncio.ensure_future(self._ask(behind)),
                asyncio.ensure_future(self._answer(answers)),
            ]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in either:
                    task.cancel()
                await asyncio.gather(*either, return_exceptions=True)
        except OSError:
            # Nobody is behind the door: neither is there for the client.
            self.reset()
        finally:
            for writer in self._writers:
                writer.close()

    async def _ask(self, behind: asyncio.StreamWriter) -> None:
        while piece := await self._reader.read(PIECE):
            if found := _REQUEST.match(piece):
                self._request = (found[1].decode(), found[2].decode(errors="replace"))
            if found := _SPEAKER.search(piece):
                self.speaker = found[1].decode(errors="replace")
            if not await self._door.admit(self.speaker):
                return
            behind.write(piece)
            await behind.drain()

    async def _answer(self, answers: asyncio.StreamReader) -> None:
        (client, *_) = self._writers
        while piece := await answers.read(PIECE):
            request, self._request = self._request, None
            passed, goes_on = await self._door.answer(piece, request, self.speaker)
            client.write(passed)
            await client.drain()
            if not goes_on:
                return
