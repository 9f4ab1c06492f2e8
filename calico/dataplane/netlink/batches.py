"""A netlink socket: batches with an answer for each message, and dumps."""

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from calico.dataplane.netlink.wire import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Reply,
    Request,
    ending,
    error_code,
    explanation,
    split_replies,
)
from calico.errors import DataplaneError

#: Told what is about to happen, before every change of the kernel. Raising
#: stops there, as a crash would.
Step = Callable[[str], None]

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
NLM_F_DUMP_INTR = 0x10
RECEIVE_BUFFER = 1 << 20
LARGEST_SENT = 1 << 28
#: Bytes of the send buffer that the kernel keeps for itself.
SEND_RESERVE = 64
LARGEST_DATAGRAM = 1 << 16
#: As many answers as surely fit into the smallest receive buffer.
BATCH = 64
DUMP_ATTEMPTS = 8


def go_on(what: str) -> None:
    """The step that lets everything happen."""


def sendable(opened: socket.socket) -> int:
    """Bytes that one datagram may have."""
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - SEND_RESERVE


def widen(opened: socket.socket) -> int:
    """Let a datagram be as large as the kernel permits; how many bytes."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, LARGEST_SENT)
    except PermissionError:
        # Only the initial user namespace may exceed the limit.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_SENT)
    return sendable(opened)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kernel's no to one message: its errno, and a sentence for people."""

    code: int
    reason: str


class NetlinkSocket:
    """Speaks one netlink protocol in the namespace of the thread that opens it."""

    def __init__(self, step: Step = go_on, protocol: int = NETLINK_ROUTE) -> None:
        self._step = step
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._sequence = itertools.count(1)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open in the namespace of the calling thread."""
        made = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol
        )
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            made.setsockopt(SOL_NETLINK, option, 1)
        # Only the initial user namespace may exceed the limit; BATCH fits anyhow.
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        made.bind((0, 0))
        self._socket = made

    def close(self) -> None:
        """Close; the socket may be opened again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def transact(self, requests: Sequence[Request]) -> list[Refusal | None]:
        """Send the messages in order; what became of each.

        One that is refused does not stop those after it.
        """
        answers: list[Refusal | None] = []
        for first in range(0, len(requests), BATCH):
            answers += self._exchange(requests[first : first + BATCH])
        return answers

    def _exchange(self, requests: Sequence[Request]) -> list[Refusal | None]:
        for position, request in enumerate(requests):
            try:
                self._step(request.what)
            except BaseException:
                self._send(requests[:position])
                raise
        return self._send(requests)

    def _send(self, requests: Sequence[Request]) -> list[Refusal | None]:
        if not requests:
            return []
        waiting = {next(self._sequence): request for request in requests}
        self._opened.send(b"".join(each.packed(number) for number, each in waiting.items()))
        answers: dict[int, Refusal | None] = {}
        while len(answers) < len(waiting):
            for reply in self._receive():
                if reply.kind == NLMSG_ERROR and reply.sequence in waiting:
                    answers[reply.sequence] = _refusal(waiting[reply.sequence], reply)
        return [answers[number] for number in waiting]

    def widen(self) -> int:
        """Let a datagram be as large as the kernel permits; how many bytes."""
        return widen(self._opened)

    def send_batch(self, requests: Sequence[Request]) -> list[Refusal]:
        """Send messages as one datagram that is taken whole or not at all.

        One message at least must ask for an answer. The kernel has answered
        when the datagram is sent.
        """
        numbered = {next(self._sequence): request for request in requests}
        try:
            self._opened.send(b"".join(each.packed(number) for number, each in numbered.items()))
            answers = list(self._waiting())
        except OSError as error:
            raise DataplaneError(f"netlink: {error}") from error
        ours = [each for each in answers if each.kind == NLMSG_ERROR and each.sequence in numbered]
        if not ours:
            raise DataplaneError("netlink: the kernel did not answer")
        refusals = (_refusal(numbered[each.sequence], each) for each in ours)
        return [each for each in refusals if each is not None]

    def _waiting(self) -> Iterator[Reply]:
        while True:
            try:
                datagram = self._opened.recv(LARGEST_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from split_replies(datagram)

    def ask(self, request: Request) -> Reply:
        """The one reply to a question; raises DataplaneError when refused."""
        number = next(self._sequence)
        self._opened.send(request.packed(number))
        while True:
            for reply in self._receive():
                if reply.sequence == number:
                    _raise_refusal(request, reply)
                    return reply

    def dump(self, request: Request) -> list[Reply]:
        """All replies to a question, read without a change in between."""
        for _ in range(DUMP_ATTEMPTS):
            replies = list(self._dump_once(request))
            if not any(reply.flags & NLM_F_DUMP_INTR for reply in replies):
                return replies[:-1]
        raise DataplaneError(f"{request.what}: the kernel's list kept changing while it was read")

    def datagrams(self, request: Request) -> Iterator[bytes]:
        """What answers a question, unread; for lists too long to be split up here.

        Raises DataplaneError when refused.
        """
        self._opened.send(request.packed(next(self._sequence)))
        while True:
            datagram = self._read()
            yield datagram
            if (reply := ending(datagram)) is not None:
                _raise_refusal(request, reply)
                return

    def _dump_once(self, request: Request) -> Iterator[Reply]:
        number = next(self._sequence)
        self._opened.send(request.packed(number))
        while True:
            for reply in self._receive():
                if reply.sequence != number:
                    continue
                _raise_refusal(request, reply)
                yield reply
                if reply.kind == NLMSG_DONE:
                    return

    def _receive(self) -> Iterator[Reply]:
        return split_replies(self._read())

    def _read(self) -> bytes:
        try:
            return self._opened.recv(LARGEST_DATAGRAM)
        except OSError as error:
            raise DataplaneError(f"netlink: {error}") from error

    @property
    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DataplaneError("the netlink socket is not open")
        return self._socket


def _raise_refusal(request: Request, reply: Reply) -> None:
    if reply.kind in (NLMSG_ERROR, NLMSG_DONE):
        refusal = _refusal(request, reply)
        if refusal is not None:
            raise DataplaneError(refusal.reason)


def _refusal(request: Request, reply: Reply) -> Refusal | None:
    code = error_code(reply.body)
    if code == 0:
        return None
    return Refusal(code, f"{request.what}: {explanation(reply) or os.strerror(code)}")
