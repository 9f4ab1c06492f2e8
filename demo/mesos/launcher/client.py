"""The agent's end of the launcher: starts it, sends orders, reads what happened."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

PACKET_LIMIT = 1 << 20
ROOT = Path(__file__).resolve().parents[3]


class Registration(msgspec.Struct, frozen=True):
    """How an executor subscribes with its agent before its task may run."""

    endpoint: str
    path: str
    framework: str
    executor: str


class Start(msgspec.Struct, frozen=True, tag_field="do", tag="start"):
    """Fork a process: with `hold` it waits in its new namespaces for a Release.

    It enters the namespaces of the process `join`, new ones if `isolate`, or
    shares the launcher's. Without `argv` it only keeps its namespaces. In a mount
    namespace of its own, which it has if it is to be held or has `files`, these
    are put in the place of others, by path, and the mounts `hidden` are not.
    """

    id: str
    directory: str
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    isolate: bool = False
    hold: bool = False
    join: int = 0
    files: dict[str, str] = {}
    hidden: tuple[str, ...] = ()


class Release(msgspec.Struct, frozen=True, tag_field="do", tag="release"):
    """Let a held process go on, once it has subscribed with its agent."""

    id: str
    argv: tuple[str, ...]
    env: dict[str, str]
    hostname: str
    files: dict[str, str]
    register: Registration


class Check(msgspec.Struct, frozen=True, tag_field="do", tag="check"):
    """Look from inside the namespaces of a process whether its task is well."""

    id: str
    pid: int
    kind: str
    port: int
    path: str
    timeout: float
    directory: str
    argv: tuple[str, ...]
    env: dict[str, str]


class Held(msgspec.Struct, frozen=True):
    """A process waits in namespaces of its own, before its first instruction."""

    held: str
    pid: int


class Launched(msgspec.Struct, frozen=True):
    """A process executes its program, or the reason why it does not."""

    launched: str
    pid: int | None = None
    error: str = ""


class Checked(msgspec.Struct, frozen=True):
    """The result of one check."""

    checked: str
    well: bool
    message: str


class Exited(msgspec.Struct, frozen=True):
    """A process has ended; a negative status is the signal that ended it."""

    exited: int
    status: int


Message = Held | Launched | Checked | Exited
_TYPES: tuple[tuple[bytes, type[Message]], ...] = (
    (b'{"held"', Held),
    (b'{"launched"', Launched),
    (b'{"checked"', Checked),
    (b'{"exited"', Exited),
)


class LauncherGone(Exception):
    """The launcher's process has ended."""


class ForkServer:
    """One launcher process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        module = ("-m", "demo.mesos.launcher.serve")
        with theirs:
            # Without the environment and site-packages: it needs the standard library only.
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-s", "-S", *module, str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The launcher's own process."""
        return self._process.pid

    def fileno(self) -> int:
        """For poll."""
        return self._channel.fileno()

    def send(self, order: Start | Release | Check) -> None:
        """Ask for something; the answer comes through `receive`."""
        try:
            self._channel.send(msgspec.json.encode(order))
        except OSError as error:
            raise LauncherGone(str(error)) from error

    def receive(self) -> Message | None:
        """The next message, if there is one."""
        try:
            packet = self._channel.recv(PACKET_LIMIT, socket.MSG_DONTWAIT)
        except BlockingIOError:
            # A wake-up that was meant for a launcher before this one.
            return None
        except OSError as error:
            raise LauncherGone(str(error)) from error
        if not packet:
            raise LauncherGone("it has ended")
        kind = next(kind for prefix, kind in _TYPES if packet.startswith(prefix))
        return msgspec.json.decode(packet, type=kind)

    def close(self) -> None:
        """Let the launcher end and take its exit; the tasks live on."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
