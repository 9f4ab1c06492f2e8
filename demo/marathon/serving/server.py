"""The HTTP side: sockets, guards, faults, and the stream beside REST."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import urllib.parse
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import ClassVar

import msgspec

from demo.kept_connection import KeptConnection
from demo.marathon.api.request import DEPLOYMENT_HEADER, Reply, Request
from demo.marathon.api.routes import READS, MethodNotAllowed, find_route
from demo.marathon.era import Era
from demo.marathon.errors import ApiError
from demo.marathon.faults import Answer, Faults, FaultTable, RestFault, bent
from demo.marathon.loop import Loop
from demo.marathon.replies.system import render_info
from demo.marathon.serving.stream import Cut, Hub, StreamRequest

log = logging.getLogger(__name__)

BODY_LIMIT = 16 << 20
EVENT_STREAM = "text/event-stream"
#: What zlib calls gzip's own header with the largest window.
GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Site:
    """What every connection needs to know."""

    loop: Loop
    hub: Hub
    faults: Faults
    era: Era
    leader: str
    heartbeat: float
    names: frozenset[str]
    faults_allowed: bool


class ApiServer(ThreadingHTTPServer):
    """Serves one listening socket, be it new or inherited."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket) -> None:
        # The base class would open a socket of its own: it gets ours instead.
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.site: Site | None = None

    def begin(self, site: Site) -> None:
        """Answer requests from now on."""
        self.site = site
        threading.Thread(target=self.serve_forever, args=(0.05,), name="http", daemon=True).start()


def open_listener(host: str, port: int) -> socket.socket:
    """A new listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    listener.set_inheritable(False)
    return listener


class _Handler(KeptConnection):
    server_version = "Jetty(9.3.z-SNAPSHOT)"
    sys_version = ""
    timeout: ClassVar[float] = 300.0
    server: ApiServer

    def do_GET(self) -> None:
        """Any method comes this way."""
        site = self.server.site
        if site is None:
            self.close_connection = True
            return
        body = self._body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=urllib.parse.unquote(path),
            query=urllib.parse.parse_qs(query, keep_blank_values=True),
            body=body,
            client=self.client_address[0],
        )
        refusal = self._refusal(site, body)
        if refusal is not None:
            self._send(site, refusal)
        elif request.path == "/stand-in/faults" and site.faults_allowed:
            self._send(site, _set_faults(site, request))
        elif request.path == "/v2/events":
            self._events(site, request)
        else:
            self._rest(site, request)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _body(self) -> bytes | None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if 0 <= length <= BODY_LIMIT and "Transfer-Encoding" not in self.headers:
            return self.rfile.read(length)
        self.close_connection = True
        self._send_html(HTTPStatus.BAD_REQUEST, "Content-Length is missing or too large")
        return None

    def _refusal(self, site: Site, body: bytes) -> Reply | None:
        """Keep web pages of elsewhere from using a browser on this machine."""
        host = self.headers.get("Host", "")
        if not _is_own_name(host, site.names):
            return Reply({"message": f"unknown host name in Host: {host}"}, 403)
        origin = self.headers.get("Origin")
        if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            return Reply({"message": "requests from other origins are refused"}, 403)
        if body and self.headers.get_content_type() != "application/json":
            return Reply({"message": "Content-Type must be application/json"}, 415)
        return None

    def _rest(self, site: Site, request: Request) -> None:
        fault = site.faults.take(request.method, request.path)
        if fault is not None and fault.answer in (Answer.DELAY, Answer.HANG):
            site.faults.hold(fault.seconds if fault.answer is Answer.DELAY else None)
            if fault.answer is Answer.HANG:
                self.close_connection = True
                return
        if fault is not None and fault.answer is Answer.STATUS:
            self._send_html(fault.status, HTTPStatus(fault.status).phrase)
            return
        if fault is not None and fault.answer is Answer.HTML:
            self._send_html(HTTPStatus.OK, "Welcome to the proxy")
            return
        try:
            reply = _answer(site, request)
        except MethodNotAllowed:
            self._send_html(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
            return
        except ApiError as error:
            reply = Reply(error.in_era(site.era), error.status)
        except TimeoutError:
            reply = Reply({"message": "timed out"}, HTTPStatus.SERVICE_UNAVAILABLE)
        if fault is not None and fault.answer is Answer.STALE:
            reply = site.faults.stale(f"{request.method} {self.path}", reply)
        self._send(site, reply, fault)

    def _send(self, site: Site, reply: Reply, fault: RestFault | None = None) -> None:
        answer = None if fault is None else fault.answer
        value = reply.body if fault is None else bent(fault, reply.body)
        if isinstance(value, bytes):
            content, content_type = value, "text/plain;charset=utf-8"
        else:
            content = b"" if value is None else msgspec.json.encode(value)
            content_type = site.era.content_type
        self.send_response(reply.status)
        self.send_header("X-Marathon-Leader", f"http://{site.faults.leader or site.leader}")
        for name, text in reply.headers.items():
            if name != DEPLOYMENT_HEADER or site.era.has_instances:
                self.send_header(name, text)
        if site.era.uses_networks:
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("X-XSS-Protection", "1; mode=block")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer is Answer.TRUNCATED:
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_html(self, status: int, text: str) -> None:
        title = f"Error {status} {text}" if status >= 400 else text
        content = (
            f"<html><head><title>{title}</title></head><body><h2>{title}</h2></body></html>\n"
        ).encode()
        self.send_response(status)
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="Mesosphere"')
        self.send_header("Content-Type", "text/html;charset=ISO-8859-1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _events(self, site: Site, request: Request) -> None:
        # Jetty's servlet compares each Accept line as a whole: `*/*` beside it,
        # or a quality behind it, does not fit.
        if request.method != "GET" or EVENT_STREAM not in self.headers.get_all("Accept", []):
            method = HTTPStatus.METHOD_NOT_ALLOWED
            self._send_html(method, f"HTTP method {request.method} is not supported by this URL")
            return
        if site.faults.refused_stream is not None:
            self._send_html(site.faults.refused_stream, "no stream")
            return
        self.close_connection = True
        # Before the headers: who has read them misses nothing from then on.
        subscriber = site.hub.attach(
            StreamRequest(
                remote_address=request.client,
                names=frozenset(request.query.get("event_type", ())),
                plan_format=request.value("plan-format"),
            )
        )
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream;charset=utf-8")
            self.send_header("Connection", "close")
            pack = None
            if site.faults.packs_streams and "gzip" in self.headers.get("Accept-Encoding", ""):
                pack = zlib.compressobj(wbits=GZIP).compress
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            if site.faults.ends_streams:
                return
            subscriber.serve(self.connection, site.heartbeat, site.faults, pack)
        finally:
            site.hub.detach(subscriber)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news; what they lead to is."""


def _answer(site: Site, request: Request) -> Reply:
    match request.path:
        case "/ping":
            return Reply(b"pong\n" if not site.era.has_instances else b"pong")
        case "/v2/leader":
            return Reply({"leader": site.faults.leader or site.leader})
        case "/v2/info":
            info = site.loop.ask(
                lambda cluster, _now: render_info(cluster.state, site.era, site.leader)
            )
            return Reply(info)
        case "/metrics":
            return Reply({})
        case _:
            return site.loop.ask(find_route(request, site.era), writes=request.method not in READS)


def _set_faults(site: Site, request: Request) -> Reply:
    if request.method == "GET":
        return Reply(site.faults.table)
    try:
        if request.method == "DELETE":
            table = FaultTable()
        else:
            table = msgspec.json.decode(request.body, type=FaultTable)
        cut = Cut(table.cut) if table.cut else None
    except (msgspec.DecodeError, ValueError) as error:
        return Reply({"message": str(error)}, 400)
    site.faults.set(table)
    if cut is not None:
        site.hub.end_all(cut)
    return Reply(table)


def _is_own_name(host: str, names: Iterable[str]) -> bool:
    """Addresses cannot be rebound by DNS; names can, so they must be known."""
    name = urllib.parse.urlsplit(f"//{host}").hostname
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name in names
    return True
