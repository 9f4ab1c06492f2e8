"""HTTP for browsers and programs, with what keeps strangers' web pages out.

A browser on some machine must not be used by a page of elsewhere: names in
`Host` must be known (addresses cannot be rebound by DNS, names can), a foreign
`Origin` is refused, and a body must be JSON by its type.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar, assert_never
from urllib.parse import urlsplit

from demo.kept_connection import KeptConnection

BODY_LIMIT = 16384
MOST_CONNECTIONS = 128
IDLE_SECONDS = 10.0
#: Names end so inside a Mesos cluster; who controls its DNS has won already.
CLUSTER_SUFFIX = ".mesos"
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was let in."""

    method: str
    path: str
    query: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A whole answer."""

    status: HTTPStatus
    kind: str
    body: bytes


#: Sends parts of an answer that has no end; raises OSError when nobody reads.
Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on until the reader leaves."""

    kind: str
    run: Callable[[Send], None]


Site = Callable[[Asked], Content | Stream]


def json_content(document: object, status: HTTPStatus = HTTPStatus.OK) -> Content:
    """A document as an answer."""
    return Content(status, "application/json; charset=utf-8", json.dumps(document).encode())


def text_content(text: str, status: HTTPStatus = HTTPStatus.OK) -> Content:
    """Lines as an answer."""
    return Content(status, "text/plain; charset=utf-8", text.encode())


class SiteServer(ThreadingHTTPServer):
    """Serves one site on one listening socket."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, site: Site, names: frozenset[str]) -> None:
        # The base class would open a socket of its own: it gets ours instead.
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.site = site
        self.names = names
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True).start()

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 - as the base class has it
        """Whoever comes when all places are taken is turned away at once."""
        return self._room.acquire(blocking=False)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any
    ) -> None:
        """One connection, with its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Handler(KeptConnection):
    server_version = "star"
    sys_version = ""
    timeout: ClassVar[float] = IDLE_SECONDS
    server: SiteServer

    def do_GET(self) -> None:
        """Any method comes this way."""
        body = self._body()
        if body is None:
            return
        refusal = self._refusal(body)
        if refusal is not None:
            self._send(refusal)
            return
        path, _, query = self.path.partition("?")
        method = "GET" if self.command == "HEAD" else self.command
        answer = self.server.site(Asked(method=method, path=path, query=query, body=body))
        match answer:
            case Content():
                self._send(answer)
            case Stream():
                self._stream(answer)
            case _:
                assert_never(answer)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def _body(self) -> bytes | None:
        text = self.headers.get("Content-Length") or "0"
        length = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
        if 0 <= length <= BODY_LIMIT and "Transfer-Encoding" not in self.headers:
            return self.rfile.read(length)
        self.close_connection = True
        too_large = length > BODY_LIMIT
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
        self._send(json_content({"message": "Content-Length is missing or too large"}, status))
        return None

    def _refusal(self, body: bytes) -> Content | None:
        host = self.headers.get("Host", "")
        if not _is_own_name(host, self.server.names):
            return _refused("unknown host name in Host")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refused("requests from other origins are refused")
        if body and self.headers.get_content_type() != "application/json":
            status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            return json_content({"message": "Content-Type must be application/json"}, status)
        return None

    def _head(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")

    def _send(self, content: Content) -> None:
        self._head(content.status, content.kind)
        self.send_header("Content-Length", str(len(content.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content.body)

    def _stream(self, stream: Stream) -> None:
        self.close_connection = True
        self._head(HTTPStatus.OK, stream.kind)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            stream.run(self.connection.sendall)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""


def _refused(message: str) -> Content:
    return json_content({"message": message}, HTTPStatus.FORBIDDEN)


def _is_own_name(host: str, names: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name in names or name.endswith(CLUSTER_SUFFIX)
    return True
