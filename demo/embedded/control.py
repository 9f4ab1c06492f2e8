"""The cluster's control socket: what may be asked of the supervisor, and by whom.

One packet asks, one packet answers; descriptors travel beside the answer. The
socket lies in a directory that only its owner may enter.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from demo.embedded import namespaces

SOCKET_NAME = "control.sock"
PACKET_LIMIT = 1 << 18
DESCRIPTOR_LIMIT = 16
REPLY_SECONDS = 10.0


class ClusterGoneError(Exception):
    """No supervisor answers on the control socket."""


class RefusedRequestError(Exception):
    """The supervisor does not know what was asked for."""


class Status(msgspec.Struct, frozen=True, tag=True):
    """What runs?"""


class Start(msgspec.Struct, frozen=True, tag=True):
    """Keep this process running from now on."""

    name: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End this process and do not start it again."""

    name: str


class Kill(msgspec.Struct, frozen=True, tag=True):
    """Send a signal; the process is restarted if it ends."""

    name: str
    signal: int


class Enter(msgspec.Struct, frozen=True, tag=True):
    """The namespaces of a host, as descriptors beside the answer."""

    host: str


class Log(msgspec.Struct, frozen=True, tag=True):
    """What a process wrote, as a descriptor beside the answer."""

    name: str


Request = Status | Start | Stop | Kill | Enter | Log


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process as the supervisor sees it; pids are those inside the cluster."""

    name: str
    host: str
    wanted: bool
    pid: int | None
    restarts: int


class HostStatus(msgspec.Struct, frozen=True):
    """One host and the process that holds its namespaces."""

    name: str
    address: str
    pid: int


class Reply(msgspec.Struct, frozen=True):
    """The answer to any request; `error` says why there is none."""

    error: str = ""
    processes: tuple[ProcessStatus, ...] = ()
    hosts: tuple[HostStatus, ...] = ()
    environment: dict[str, str] = {}
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """Asks the supervisor whose control socket lies in `directory`."""

    directory: Path

    def status(self) -> Reply:
        """Hosts and processes."""
        return self._ask(Status())[0]

    def process(self, name: str) -> ProcessStatus:
        """One process by its name."""
        for process in self.status().processes:
            if process.name == name:
                return process
        raise RefusedRequestError(f"no process {name}")

    def start(self, name: str) -> None:
        """Keep a process running from now on."""
        self._ask(Start(name))

    def stop(self, name: str) -> None:
        """End a process for good."""
        self._ask(Stop(name))

    def kill(self, name: str, number: int) -> None:
        """Send a signal to a process."""
        self._ask(Kill(name, number))

    def log(self, name: str) -> str:
        """Everything that a process wrote so far."""
        _, descriptors = self._ask(Log(name))
        with os.fdopen(descriptors[0], "rb") as file:
            return file.read().decode(errors="replace")

    @contextmanager
    def namespaces(self, host: str) -> Iterator[tuple[dict[str, int], dict[str, str]]]:
        """A host's namespaces by kind, open while the body runs, and its environment."""
        reply, descriptors = self._ask(Enter(host))
        try:
            yield dict(zip(reply.kinds, descriptors, strict=True)), reply.environment
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _ask(self, request: Request) -> tuple[Reply, list[int]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            channel.settimeout(REPLY_SECONDS)
            try:
                with short_path(self.directory) as directory:
                    channel.connect(f"{directory}/{SOCKET_NAME}")
                channel.send(msgspec.json.encode(request))
                packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_LIMIT, DESCRIPTOR_LIMIT)
            except OSError as error:
                raise ClusterGoneError(f"no cluster answers in {self.directory}") from error
        if not packet:
            raise ClusterGoneError(f"the cluster in {self.directory} ended")
        reply = msgspec.json.decode(packet, type=Reply)
        if reply.error:
            raise RefusedRequestError(reply.error)
        return reply, descriptors


def listen(directory: Path) -> socket.socket:
    """The listening control socket; one that a dead cluster left is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    (directory / SOCKET_NAME).unlink(missing_ok=True)
    with short_path(directory) as short:
        listener.bind(f"{short}/{SOCKET_NAME}")
    (directory / SOCKET_NAME).chmod(0o600)
    listener.listen(16)
    return listener


def answer(channel: socket.socket, reply: Reply, descriptors: Sequence[int] = ()) -> None:
    """Send one reply; whoever asked may be gone already."""
    try:
        socket.send_fds(channel, [msgspec.json.encode(reply)], list(descriptors))
    except OSError:
        return


def open_all(pid: int) -> tuple[tuple[str, ...], list[int]]:
    """The namespaces of a process: their kinds and, in the same order, descriptors."""
    opened = namespaces.open_namespaces(pid)
    return tuple(opened), list(opened.values())


@contextmanager
def short_path(directory: Path) -> Iterator[str]:
    """A name of the directory that fits into a socket's address, however long its path."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
