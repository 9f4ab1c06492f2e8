"""The pages for load balancers, Marathon and Prometheus: `/healthz` and the like.

Read-only, plain HTTP, one line of JSON a page. Nothing secret is on them.
"""

import json
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

from netaddr import IPAddress
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from calico.iptext import is_host

log = logging.getLogger(__name__)

#: A client that sends nothing does not hold a thread for longer, in seconds.
CLIENT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says; 200 when all is well, else 503 or another `status`."""

    ok: bool
    fields: Mapping[str, object] = field(default_factory=dict)
    status: int = 0

    @property
    def code(self) -> int:
        """The status of the answer."""
        return self.status or (200 if self.ok else 503)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for a page, and what about: the rest of its path, and the query."""

    peer: IPAddress
    rest: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


Reader = Callable[[Ask], Page]
NO_READERS: Mapping[str, Reader] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; an empty host is every address, port 0 any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str, usual: int) -> ListenAddress:
    """`HOST:PORT`, `:PORT` or `[IPv6]:PORT`; raises ValueError, which tells the usual port."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address is written in brackets, as [::1]:{usual}")
    known = (not host or is_host(host)) and port.isascii() and port.isdigit()
    if not colon or not known or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as :{usual} or 127.0.0.1:{usual}")
    return ListenAddress(host, int(port))


class Listener:
    """Serves pages by path, and `/metrics`, from `with` to its end.

    The pages are called in the server's threads: they read values that another
    thread replaces whole. `readers` are pages that depend on what is asked; one
    whose path ends in a slash is asked for all that lies below.
    """

    def __init__(
        self,
        address: ListenAddress,
        pages: Mapping[str, Callable[[], Page]],
        registry: CollectorRegistry,
        readers: Mapping[str, Reader] = NO_READERS,
    ) -> None:
        self._wanted = address
        self._pages = pages
        self._registry = registry
        self._readers = readers
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> ListenAddress:
        """Where it listens; the port is the real one once it has started."""
        if self._server is None:
            return self._wanted
        return ListenAddress(self._wanted.host, self._server.server_address[1])

    def __enter__(self) -> Self:
        """Bind and serve; raises OSError if the address is taken."""
        self._server = _server(self._wanted, self._pages, self._registry, self._readers)
        Thread(target=self._server.serve_forever, args=(0.1,), name="listener", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def announcement(self, command: str) -> str:
        """One line of JSON for whoever started us, so that port 0 can be found."""
        return json.dumps({"command": command, "listen": str(self.address)})


def _server(
    address: ListenAddress,
    pages: Mapping[str, Callable[[], Page]],
    registry: CollectorRegistry,
    readers: Mapping[str, Reader],
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT
        protocol_version = "HTTP/1.1"
        server_version = "marathon-calico"
        sys_version = ""

        def handle_one_request(self) -> None:
            """Whoever goes away in the middle is no error of ours."""
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            path, _, query = self.path.partition("?")
            kind, page = "application/json", pages.get(path)
            if path == "/metrics":
                status, kind, body = 200, CONTENT_TYPE_LATEST, generate_latest(registry)
            else:
                answer = page() if page is not None else self._read(path, query)
                status, body = answer.code, _line({"ok": answer.ok, **answer.fields})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def _read(self, path: str, query: str) -> Page:
            whole, rest = path, ""
            if path not in readers:
                head, slash, rest = path.rpartition("/")
                whole = head + slash
            if whole not in readers or (whole.endswith("/") and not rest):
                return Page(False, {"pages": sorted(["/metrics", *pages, *readers])}, 404)
            peer = IPAddress(self.client_address[0].partition("%")[0])
            if peer.version == 6 and peer.is_ipv4_mapped():
                peer = peer.ipv4()
            return readers[whole](Ask(peer, unquote(rest), dict(parse_qsl(query))))

        def log_message(self, format: str, *args: object) -> None:
            log.debug("page served", extra={"request": format % args})

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET

    return Server((address.host, address.port), Handler)


def _line(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, default=str).encode() + b"\n"
