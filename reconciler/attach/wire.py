"""One request and one answer on a connection of the agent's socket.

A request is JSON on one line; it ends with the line, or with the client's half
of the connection. One descriptor may come along with its first byte.
"""

import array
import os
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from reconciler.attach.plugin import LARGEST

#: How much is read at once, and so many descriptors are told apart from one.
PART = 65536
MOST_DESCRIPTORS = 8

NO_DESCRIPTOR = -1


class BadRequest(Exception):
    """What came is no request; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; `descriptor` is -1 if none came, else closed with the request."""

    text: bytes
    descriptor: int = NO_DESCRIPTOR

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.descriptor != NO_DESCRIPTOR:
            os.close(self.descriptor)


def receive(connection: socket.socket, within: float) -> Request:
    """The request of a connection; raises BadRequest, also when it takes too long."""
    deadline = time.monotonic() + within
    received = bytearray()
    descriptors: list[int] = []
    try:
        while b"\n" not in received:
            part, cut_off = _receive_part(connection, descriptors, deadline, within)
            if cut_off or len(descriptors) > 1:
                raise BadRequest("a request takes one descriptor at most")
            if not part:
                break
            received += part
            if len(received) > LARGEST:
                raise BadRequest(f"the request is larger than {LARGEST // 1024} KiB")
        text, _, rest = bytes(received).partition(b"\n")
        if rest.strip():
            raise BadRequest("more than one line was sent: a request is one line")
        if not text.strip():
            raise BadRequest("the request is empty")
        return Request(text, descriptors.pop() if descriptors else NO_DESCRIPTOR)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def send(connection: socket.socket, answer: bytes, within: float) -> None:
    """Send an answer whole; raises OSError if the client does not take it in time."""
    connection.settimeout(within)
    connection.sendall(answer)


def _receive_part(
    connection: socket.socket, descriptors: list[int], deadline: float, within: float
) -> tuple[bytes, bool]:
    """The next bytes, and whether descriptors were lost on the way."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise BadRequest(f"the request was not complete within {within:g} s")
    connection.settimeout(left)
    numbers = array.array("i")
    try:
        part, extra, flags, _ = connection.recvmsg(
            PART, socket.CMSG_SPACE(MOST_DESCRIPTORS * numbers.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except TimeoutError as error:
        raise BadRequest(f"the request was not complete within {within:g} s") from error
    except OSError as error:
        raise BadRequest(f"the connection broke: {error.strerror or error}") from error
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    descriptors.extend(numbers)
    return part, bool(flags & socket.MSG_CTRUNC)
