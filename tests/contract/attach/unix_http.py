"""A real HTTP server on a UNIX socket, whose answers are one function."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asks may hang up before the answer is over."""


@contextmanager
def short_directory() -> Iterator[Path]:
    """A fresh directory whose path leaves room in the 107 bytes of a socket's."""
    made = Path(tempfile.mkdtemp(prefix="mc-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def serving(path: Path, answer: Answer) -> Iterator[None]:
    """Answers every GET at a path until the end of the body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        os.unlink(path)


def send_chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    """One chunk of an answer that goes on."""
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def begin_chunks(handler: BaseHTTPRequestHandler) -> None:
    """The headers of an answer whose end is not known yet."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
