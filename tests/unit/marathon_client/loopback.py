"""A scripted HTTP server on loopback that can misbehave byte by byte."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client sent, headers in order and as written."""

    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    method: str = "GET"
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of that header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Loopback:
    """Answers each path by its reply; one request per connection."""

    def __init__(
        self,
        routes: Mapping[str, "Reply"],
        tls: ssl.SSLContext | None = None,
        otherwise: "Reply | None" = None,
    ) -> None:
        self.routes = dict(routes)
        self._otherwise = otherwise or not_marathon()
        self._tls = tls
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.authority}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.path for request in self.requests]

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self._run(self._serve, connection)

    def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), self._secured(accepted) as connection:
            request = _read_request(connection)
            if request is None:
                return
            self.requests.append(request)
            self.routes.get(request.path, self._otherwise)(connection, self)

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        with connection:
            secured = self._tls.wrap_socket(connection, server_side=True)
        self._open.append(secured)
        return secured


Reply = Callable[[socket.socket, Loopback], None]


def _read_request(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, url, _ = first.split(" ")
    target = urlsplit(url)
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.strip(), value.strip()) for name, _, value in pairs)
    size = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    while len(body) < size and (chunk := connection.recv(65536)):
        body += chunk
    return Request(target.path, tuple(parse_qsl(target.query)), headers, method, body)


def raw(data: bytes) -> Reply:
    """Exactly these bytes, then the end."""
    return lambda connection, _: connection.sendall(data)


def reply(
    body: bytes, status: str = "200 OK", kind: str = "application/json", **headers: str
) -> Reply:
    """A well-formed reply; underscores in header names stand for dashes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def as_json(value: object, status: str = "200 OK", **headers: str) -> Reply:
    """That value as Marathon would send it."""
    return reply(json.dumps(value).encode(), status, **headers)


def not_marathon() -> Reply:
    """What some web server says about a path it does not know."""
    return reply(b"<html>Not Found</html>", "404 Not Found", "text/html")


def silence(_: socket.socket, server: Loopback) -> None:
    """Accepts, never answers."""
    server.closing.wait()


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n\r\n"
)


def sse(name: str, **body: object) -> bytes:
    """One event in Marathon's framing."""
    data = json.dumps({"eventType": name, **body})
    return f"event: {name}\r\ndata: {data}\r\n\r\n".encode()


def stream(*parts: bytes | threading.Event, hold: bool = True, head: bytes = STREAM_HEAD) -> Reply:
    """An event stream: each part is a segment of its own, or something to wait for."""

    def answer(connection: socket.socket, server: Loopback) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head)
        for part in parts:
            if isinstance(part, bytes):
                connection.sendall(part)
                continue
            while not part.wait(0.02) and not server.closing.is_set():
                pass
        if hold:
            server.closing.wait()

    return answer


def in_turn(*replies: Reply) -> Reply:
    """A reply for each request; the last one again and again."""
    left = list(replies)

    def answer(connection: socket.socket, server: Loopback) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        now(connection, server)

    return answer


def drip(data: Iterable[bytes], seconds: float) -> Reply:
    """One part after another, with a pause between them."""

    def answer(connection: socket.socket, server: Loopback) -> None:
        for part in data:
            connection.sendall(part)
            if server.closing.wait(seconds):
                return

    return answer
