"""The sockets that questions come to, bound before anything is served."""

import errno
import socket
from dataclasses import dataclass

from reconciler.runtime.listener import ListenAddress

_ATTEMPTS = 20
_BACKLOG = 128


class CannotListen(Exception):
    """The address is not to be had; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One address, asked by datagrams and by streams."""

    datagrams: socket.socket
    streams: socket.socket

    @property
    def address(self) -> ListenAddress:
        """Where it is; the port is the real one."""
        host, port = self.datagrams.getsockname()[:2]
        return ListenAddress(host, port)

    def close(self) -> None:
        """Give the address back."""
        self.datagrams.close()
        self.streams.close()


def open_channels(wanted: ListenAddress) -> tuple[Channel, ...]:
    """Listen at an address, or at all of both families; raises CannotListen."""
    try:
        if wanted.host:
            return (_open(wanted.host, wanted.port),)
        first = _open("0.0.0.0", wanted.port)
    except OSError as error:
        raise CannotListen(_sentence(wanted, error)) from error
    try:
        return (first, _open("::", first.address.port))
    except OSError as error:
        # A kernel without IPv6 has no such addresses, so nobody asks there.
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return (first,)
        first.close()
        raise CannotListen(_sentence(wanted, error)) from error


def _open(host: str, port: int) -> Channel:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_ATTEMPTS - 1):
        try:
            return _open_once(family, host, port)
        except OSError as error:
            # A port that is free for one protocol may be taken for the other.
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _open_once(family, host, port)


def _open_once(family: int, host: str, port: int) -> Channel:
    streams = socket.socket(family, socket.SOCK_STREAM)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            for each in (streams, datagrams):
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        streams.bind((host, port))
        datagrams.bind((host, streams.getsockname()[1]))
        streams.listen(_BACKLOG)
    except BaseException:
        streams.close()
        datagrams.close()
        raise
    return Channel(datagrams, streams)


def _sentence(wanted: ListenAddress, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = (
            "; ports below 1024 need CAP_NET_BIND_SERVICE, others are asked for by --listen-dns"
        )
    elif error.errno == errno.EADDRINUSE and not wanted.host:
        remedy = "; another name server may have one address: name one by --listen-dns HOST:PORT"
    else:
        remedy = ""
    return f"cannot listen on {wanted} for questions: {error.strerror}{remedy}"
