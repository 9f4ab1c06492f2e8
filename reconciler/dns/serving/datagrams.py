"""Questions and answers in datagrams."""

import socket
from functools import partial
from selectors import EVENT_READ, BaseSelector
from struct import Struct
from typing import Any

from reconciler.dns.serving.query_handler import QueryHandler
from reconciler.dns.serving.upstream import Upstream
from reconciler.dns.wire import Query

#: So many are answered before others get their turn.
AT_ONCE = 64
#: No question is larger.
_LARGEST = 4096
_RECEIVE_BUFFER = 1 << 20

#: From linux/in.h, which Python's socket lacks.
_IP_PKTINFO = 8
_V4_INFO = Struct("=i4s4s")
_V6_INFO = Struct("=16si")
_SPACE = socket.CMSG_SPACE(_V6_INFO.size)

Peer = tuple[Any, ...]
Ancillary = list[tuple[int, int, bytes]]


class Datagrams:
    """One socket that is asked by datagrams.

    What came to one of many addresses is answered from the same: whoever asked
    would take nothing from another.
    """

    def __init__(
        self,
        channel: socket.socket,
        selector: BaseSelector,
        handler: QueryHandler,
        upstream: Upstream,
    ) -> None:
        self._channel = channel
        self._handler = handler
        self._upstream = upstream
        channel.setblocking(False)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._everywhere = channel.getsockname()[0] in ("0.0.0.0", "::")
        if channel.family == socket.AF_INET6:
            channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            channel.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        selector.register(channel, EVENT_READ, self._ready)

    def _ready(self, _events: int) -> None:
        """Answer what has come."""
        take = self._take_anywhere if self._everywhere else self._take
        for _ in range(AT_ONCE):
            try:
                take()
            except BlockingIOError:
                return
            except OSError:
                # Of an earlier answer that did not arrive; nobody waits for it.
                continue

    def _take(self) -> None:
        message, peer = self._channel.recvfrom(_LARGEST)
        answer = self._handler.ask(message, peer[0], stream=False)
        if isinstance(answer, Query):
            reply = partial(self._send, peer)
            self._upstream.ask(answer, message, peer[0], reply, stream=False)
        elif answer is not None:
            self._channel.sendto(answer, peer)

    def _take_anywhere(self) -> None:
        message, ancillary, _, peer = self._channel.recvmsg(_LARGEST, _SPACE)
        answer = self._handler.ask(message, peer[0], stream=False)
        if isinstance(answer, Query):
            reply = partial(self._send_from, _from_there(ancillary), peer)
            self._upstream.ask(answer, message, peer[0], reply, stream=False)
        elif answer is not None:
            self._channel.sendmsg([answer], _from_there(ancillary), 0, peer)

    def _send(self, peer: Peer, answer: bytes) -> None:
        try:
            self._channel.sendto(answer, peer)
        except OSError:
            return

    def _send_from(self, source: Ancillary, peer: Peer, answer: bytes) -> None:
        try:
            self._channel.sendmsg([answer], source, 0, peer)
        except OSError:
            return


def _from_there(ancillary: Ancillary) -> Ancillary:
    """Where a datagram came to, as where the answer comes from."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _V4_INFO.unpack(data[: _V4_INFO.size])
            return [(level, kind, _V4_INFO.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, data)]
    return []
