"""A small HTTP listener on every address, without the weight of http.server.

A task's program must answer within milliseconds of its start and often before
its namespace has an address at all, so it binds to the wildcard addresses.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable, Mapping

#: What a path answers with at this moment.
Document = Callable[[], object]

REQUEST_LIMIT = 16384
IDLE_SECONDS = 5.0


def open_listeners(port: int) -> list[socket.socket]:
    """Listening sockets on 0.0.0.0 and, where there is IPv6, on ::."""
    first = _listen(socket.AF_INET, "0.0.0.0", port)
    listeners = [first]
    try:
        listeners.append(_listen(socket.AF_INET6, "::", first.getsockname()[1]))
    except OSError:
        # A kernel without IPv6 is a host like any other.
        return listeners
    return listeners


def serve(listeners: list[socket.socket], documents: Mapping[str, Document]) -> None:
    """Answer each GET of a known path with its JSON document, for ever."""
    selector = selectors.DefaultSelector()
    for listener in listeners:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if key.data is None:
                _accept(ready, selector)
            else:
                _answer(ready, key.data, documents, selector)


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ, bytearray())


def _answer(
    connection: socket.socket,
    received: bytearray,
    documents: Mapping[str, Document],
    selector: selectors.BaseSelector,
) -> None:
    try:
        chunk = connection.recv(4096)
    except BlockingIOError:
        return
    except OSError:
        chunk = b""
    received += chunk
    if chunk and b"\r\n\r\n" not in received and len(received) <= REQUEST_LIMIT:
        return
    selector.unregister(connection)
    if chunk:
        connection.settimeout(IDLE_SECONDS)
        try:
            connection.sendall(_response(bytes(received), documents))
        except OSError:
            connection.close()
            return
    connection.close()


def _response(request: bytes, documents: Mapping[str, Document]) -> bytes:
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    status, body = "404 Not Found", b"{}"
    if len(words) != 3:
        status = "400 Bad Request"
    elif words[0] != "GET":
        status = "405 Method Not Allowed"
    elif (path := words[1].partition("?")[0]) in documents:
        status, body = "200 OK", json.dumps(documents[path]()).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
