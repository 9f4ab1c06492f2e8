"""A Marathon that is not the leader: it passes requests on, or sends clients there."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Self

from demo.kept_connection import KeptConnection
from demo.marathon.era import Era
from demo.marathon.serving.server import BODY_LIMIT, open_listener

VIA = "X-Marathon-Via"
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
#: How often and how long apart it looks for a leader before it says that there is none.
LOOKS, LOOK_SECONDS = 10, 0.25
HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "server", "date"})


class Standby:
    """A standby for as long as the `with` lasts; `leader` may change meanwhile.

    One that is `electing` opens streams and ends them at once, as a node that is
    about to lead does. What it carries comes `late` by so many seconds, in lumps.
    """

    def __init__(
        self,
        era: Era,
        leader: str | None,
        listener: socket.socket | None = None,
        look_seconds: float = LOOK_SECONDS,
        electing: bool = False,
        late: float = 0.0,
    ) -> None:
        self.era = era
        self.leader = leader
        self.look_seconds = look_seconds
        self.electing = electing
        self.late = late
        self._server = _Server(listener or open_listener("127.0.0.1", 0), self)
        host, port = self._server.socket.getsockname()[:2]
        self.address = f"{host}:{port}"

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://{self.address}"

    def find_leader(self) -> str | None:
        """`host:port` of the leader, if one turns up in time."""
        for _ in range(LOOKS):
            if self.leader is not None:
                return self.leader
            time.sleep(self.look_seconds)
        return None

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="standby", daemon=True
        ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, standby: Standby) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.standby = standby


class _Handler(KeptConnection):
    server_version = "Jetty(9.3.z-SNAPSHOT)"
    sys_version = ""
    timeout: ClassVar[float] = 60.0
    server: _Server

    def do_GET(self) -> None:
        """Any method comes this way."""
        standby = self.server.standby
        self.close_connection = True
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, BODY_LIMIT))
        stream = self.path.partition("?")[0] == "/v2/events"
        if stream and standby.electing:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream;charset=utf-8")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        leader = standby.find_leader()
        if leader is None:
            self._html(standby.era.without_leader, "Could not determine the current leader")
        elif stream and standby.era.redirects_streams:
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"http://{leader}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif standby.address in (self.headers.get(VIA) or ""):
            self._html(HTTPStatus.BAD_GATEWAY, "Detected proxying loop.")
        else:
            self._pass_on(standby, leader, body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _pass_on(self, standby: Standby, leader: str, body: bytes) -> None:
        host, _, port = leader.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            connection.sock.settimeout(READ_SECONDS)
        except OSError:
            self._html(HTTPStatus.BAD_GATEWAY, "Connection to leader refused.")
            return
        try:
            headers = dict(self._passed(self.headers.items()))
            passed = self.headers.get_all(VIA, [])
            headers |= {"Host": leader, VIA: ", ".join((*passed, f"1.1 {standby.address}"))}
            if body:
                headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            self.send_response(response.status)
            for name, value in self._passed(response.getheaders()):
                self.send_header(name, value)
            self.send_header(VIA, f"1.1 {standby.address}")
            self.send_header("Connection", "close")
            self.end_headers()
            # As it comes: the leader's heartbeats keep a stream alive that is carried.
            while chunk := response.read1():
                time.sleep(standby.late)
                self.wfile.write(chunk)
        finally:
            connection.close()

    def _passed(self, headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP and name.lower() != "host":
                yield name, value

    def _html(self, status: int, text: str) -> None:
        content = f"<html><body><h2>Error {status} {text}</h2></body></html>\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html;charset=ISO-8859-1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""
