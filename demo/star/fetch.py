"""One GET of one URL: within a deadline for all of it, up to a limit, on its own socket.

No proxy of the environment is heeded and no redirect is followed: what answers
is what was asked, or nothing. Names are resolved anew each time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

#: A head that is longer than this is none.
HEAD_LIMIT = 16384
LONGEST_URL = 2048
CHUNK = 65536


class Place(NamedTuple):
    """Where a URL points."""

    host: str
    port: int
    target: str


class Fetched(NamedTuple):
    """An answer, whatever its status, and the address that gave it."""

    status: int
    body: bytes
    peer: str


class FetchFailedError(Exception):
    """No whole answer came."""


def resolve_shortly() -> None:
    """Have the C library give up a name server after a second; call it before any fetch."""
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")


def parse_url(url: str) -> Place:
    """An http URL, or only HOST:PORT; raises ValueError."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url[:80]!r} is not a URL")
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url[:80]!r} is not an http URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a password is refused")
    port = parts.port
    return Place(parts.hostname, 80 if port is None else port, _target(parts))


def fetch(url: str, seconds: float, limit: int | None) -> Fetched:
    """The answer to a GET; raises FetchFailedError and, for a bad URL, ValueError.

    A body above the limit is a failure; with None no body is waited for.
    """
    place = parse_url(url)
    deadline = time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailedError(f"{place.host} has no address: {error}") from error
    why: Exception = TimeoutError("timed out")
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as connection:
            try:
                connection.settimeout(_left(deadline))
                connection.connect(address)
            except OSError as error:
                why = error
                continue
            try:
                return _ask(connection, place, deadline, limit)
            except (OSError, ValueError) as error:
                raise FetchFailedError(str(error)) from error
    raise FetchFailedError(f"{place.host}:{place.port} does not answer: {why}") from why


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _ask(connection: socket.socket, place: Place, deadline: float, limit: int | None) -> Fetched:
    host = f"[{place.host}]" if ":" in place.host else place.host
    request = (
        f"GET {place.target} HTTP/1.1\r\nHost: {host}:{place.port}\r\n"
        "Accept: application/json, text/plain\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode())

    def receive() -> bytes:
        connection.settimeout(_left(deadline))
        return connection.recv(CHUNK)

    head, rest = _read_head(receive)
    lines = head.split("\r\n")
    words = lines[0].split(" ")
    if not lines[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise ValueError("what answers does not speak HTTP")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    peer = connection.getpeername()[0].partition("%")[0].removeprefix("::ffff:")
    if limit is None:
        return Fetched(int(words[1]), b"", peer)
    body = _Body(rest, receive, limit)
    if fields.get("transfer-encoding", "").lower() == "chunked":
        content = body.read_chunks()
    elif fields.get("content-length", "").isdigit():
        content = body.read_exactly(int(fields["content-length"]))
    else:
        content = body.read_to_end()
    return Fetched(int(words[1]), content, peer)


def _read_head(receive: Callable[[], bytes]) -> tuple[str, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        if len(received) > HEAD_LIMIT:
            raise ValueError("the head of the answer is too long")
        chunk = receive()
        if not chunk:
            raise ValueError("the answer ended early")
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


class _Body:
    """What follows the head, never more than the limit of it."""

    def __init__(self, received: bytes, receive: Callable[[], bytes], limit: int) -> None:
        self._received = received
        self._receive = receive
        self._limit = limit

    def read_exactly(self, length: int) -> bytes:
        if length > self._limit:
            raise ValueError("the answer is too large")
        while len(self._received) < length:
            if not self._more():
                raise ValueError("the answer ended early")
        taken, self._received = self._received[:length], self._received[length:]
        return taken

    def read_to_end(self) -> bytes:
        while self._more():
            self._check(len(self._received))
        self._check(len(self._received))
        return self._received

    def read_chunks(self) -> bytes:
        content = b""
        while True:
            size = self._read_size()
            self._check(len(content) + size)
            if size == 0:
                return content
            content += self.read_exactly(size)
            self.read_exactly(2)

    def _read_size(self) -> int:
        while b"\r\n" not in self._received:
            self._check(len(self._received))
            if not self._more():
                raise ValueError("the answer ended early")
        line, _, self._received = self._received.partition(b"\r\n")
        digits = line.partition(b";")[0].strip()
        with contextlib.suppress(ValueError):
            size = int(digits, 16)
            if size >= 0:
                return size
        raise ValueError("the answer has a chunk without a size")

    def _more(self) -> bool:
        chunk = self._receive()
        self._received += chunk
        return bool(chunk)

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise ValueError("the answer is too large")
