"""Packets per second of one core, by a small program in C that is compiled here.

Python's own cost per packet would hide what is measured.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netaddr import IPAddress

from tests.bench.report import Unavailable
from tests.kernel.namespaces import Namespace

SOURCE = Path(__file__).with_name("generator.c")
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 8 << 20
WARM_UP, SECONDS = 0.05, 0.15


class Generator:
    """Measures the way from one task to another, in either of four loads."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Unavailable("no C compiler: install gcc and libc6-dev")
        library = directory / "generator.so"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        self._loaded = ctypes.CDLL(str(library))
        for name in ("datagrams", "round_trips", "connections"):
            getattr(self._loaded, name).restype = ctypes.c_double

    def new_datagrams(
        self, source: Namespace, target: Namespace, at: IPAddress, port: int
    ) -> float:
        """Datagrams that are never answered: all of policy is asked for each."""
        with _datagram_pair(source, target, at, port) as (sender, receiver):
            sender.settimeout(None)
            return self._twice("datagrams", sender.fileno(), receiver.fileno())

    def known_datagrams(
        self, source: Namespace, target: Namespace, at: IPAddress, port: int
    ) -> float:
        """Datagrams of a connection that was answered once."""
        with _datagram_pair(source, target, at, port) as (sender, receiver):
            sender.send(b"?")
            _, asker = receiver.recvfrom(10)
            receiver.sendto(b"!", asker)
            sender.recv(10)
            sender.settimeout(None)
            return self._twice("datagrams", sender.fileno(), receiver.fileno())

    def round_trips(self, source: Namespace, target: Namespace, at: IPAddress, port: int) -> float:
        """One byte to and fro over an established TCP connection."""
        with _listener(target, at, port) as listener, ExitStack() as stack:
            client = stack.enter_context(source.socket(socket.AF_INET, socket.SOCK_STREAM))
            client.settimeout(2)
            client.connect((str(at), port))
            server = stack.enter_context(listener.accept()[0])
            for each in (client, server):
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._twice("round_trips", client.fileno(), server.fileno())

    def connections(self, source: Namespace, target: Namespace, at: IPAddress, port: int) -> float:
        """TCP connections that begin and end."""
        with _listener(target, at, port) as listener, source.entered():
            arguments = (listener.fileno(), ctypes.c_uint(int(at)), ctypes.c_ushort(port))
            return self._twice("connections", *arguments)

    def _twice(self, name: str, *arguments: object) -> float:
        """Once to warm up, once for the figure; raises OSError."""
        measure = getattr(self._loaded, name)
        measure(*arguments, ctypes.c_double(WARM_UP))
        rate: float = measure(*arguments, ctypes.c_double(SECONDS))
        if rate < 0:
            raise OSError(-int(rate), os.strerror(-int(rate)))
        if rate == 0:
            raise RuntimeError(f"{name}: nothing arrives")
        return rate


@contextmanager
def _datagram_pair(
    source: Namespace, target: Namespace, at: IPAddress, port: int
) -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        target.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        source.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        # Where the right to more is missing, sends and receives alternate anyhow.
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        receiver.settimeout(2)
        sender.settimeout(2)
        receiver.bind((str(at), port))
        sender.connect((str(at), port))
        sender.send(b"?")
        receiver.recv(10)
        yield sender, receiver


@contextmanager
def _listener(target: Namespace, at: IPAddress, port: int) -> Iterator[socket.socket]:
    with target.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(at), port))
        listener.listen(128)
        # Nobody waits in `accept` for a connection that is not admitted.
        listener.settimeout(2)
        yield listener
