"""The agent's end of the launcher: starts it, sends orders, reads what happened."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

PACKET_LIMIT = 1 << 20


class Launched(msgspec.Struct, frozen=True):
    """The launcher's answer to one order: a pid, or why there is none."""

    launched: str
    pid: int | None = None
    error: str = ""


class Exited(msgspec.Struct, frozen=True):
    """A task's process has ended; a negative status is the signal that ended it."""

    exited: int
    status: int


class LauncherGone(Exception):
    """The launcher's process has ended."""


class ForkServer:
    """One launcher process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        program = Path(__file__).with_name("launcher.py")
        with theirs:
            # Isolated and without site-packages: it needs the standard library only.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(program), str(theirs.fileno())],
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

    def send(
        self,
        task_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: Path,
        isolate: bool,
    ) -> None:
        """Ask for one task to be started; the answer comes through `receive`."""
        order = {
            "id": task_id,
            "argv": list(argv),
            "env": dict(env),
            "directory": str(directory),
            "isolate": isolate,
        }
        try:
            self._channel.send(json.dumps(order).encode())
        except OSError as error:
            raise LauncherGone(str(error)) from error

    def receive(self) -> Launched | Exited | None:
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
        if b'"launched"' in packet[:12]:
            return msgspec.json.decode(packet, type=Launched)
        return msgspec.json.decode(packet, type=Exited)

    def close(self) -> None:
        """Let the launcher end and take its exit; the tasks live on."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
