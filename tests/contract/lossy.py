"""Stores that lose the reply of one write, on command: in memory and before a real etcd."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from calico.datastore.api import DirectoryStore, Key, Listing, Revision, Stored, WatchEvent
from calico.errors import DatastoreUnavailable

T = TypeVar("T")
WRITES = ("PUT", "POST", "DELETE")


class Fault(Protocol):
    """What loses replies: counts writes, and swallows the answer to one of them."""

    writes: int
    swallow: int | None


class LossyStore:
    """A store whose write number `swallow` is done and not answered; numbers begin at 0."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store
        self.writes = 0
        self.swallow: int | None = None

    def get(self, key: Key) -> Stored | None:
        return self._store.get(key)

    def list(self, prefix: Key) -> Listing:
        return self._store.list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        return self._write(lambda: self._store.put(key, value, expect=expect, ttl=ttl))

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self._write(lambda: self._store.delete(key, expect=expect))

    def make_directory(self, key: Key) -> None:
        self._write(lambda: self._store.make_directory(key))

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Iterator[WatchEvent]:
        return self._store.watch(prefix, after, timeout)

    def _write(self, write: Callable[[], T]) -> T:
        number, self.writes = self.writes, self.writes + 1
        # A lost race is an answer too, and lost like any other.
        try:
            return write()
        finally:
            if number == self.swallow:
                raise DatastoreUnavailable("the answer was lost")


class LossyProxy:
    """Passes requests on to a server; the answer to write number `swallow` never comes back.

    `seen` are the requests that were answered by the server, in order.
    """

    def __init__(self) -> None:
        self.url = ""
        self.writes = 0
        self.swallow: int | None = None
        self.seen: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def loses(self, method: str, path: str) -> bool:
        """Note a request that the server has answered; whether its answer is lost."""
        with self._changed:
            self.seen.append((method, path))
            self._changed.notify_all()
            if method not in WRITES:
                return False
            number, self.writes = self.writes, self.writes + 1
            return number == self.swallow

    def await_reads(self, count: int, seconds: float = 30.0) -> None:
        """Return once so many reads were answered."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._reads() >= count, seconds):
                raise TimeoutError(f"{self._reads()} of {count} reads came")

    def _reads(self) -> int:
        return sum(method == "GET" for method, _ in self.seen)


@contextmanager
def lossy_proxy(upstream: str) -> Iterator[LossyProxy]:
    """A proxy on loopback before an etcd."""
    proxy = LossyProxy()
    parts = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            headers = {
                name: value for name, value in self.headers.items() if name.lower() != "host"
            }
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
            text = answer.read()
            server.close()
            if proxy.loses(self.command, self.path):
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
