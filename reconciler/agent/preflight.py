"""What must hold before an agent starts; each failure is one sentence with its remedy."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from calico.dataplane.foreign.rules import felix_at_work

STATUS = Path("/proc/self/status")
SETTINGS = Path("/proc/sys/net")
PROCESSES = Path("/proc")
SOCKET = "\0marathon-calico-agent"

#: Bit in the kernel's capability sets, and what an agent does with it.
CAPABILITIES = {
    "CAP_NET_ADMIN": (12, "change links, routes and nftables"),
    "CAP_SYS_ADMIN": (21, "enter the tasks' network namespaces"),
    "CAP_SYS_PTRACE": (19, "find the namespaces of other users' processes"),
}


class NotFit(Exception):
    """The agent cannot run here; the message names what is missing and the remedy."""


def missing_capabilities(status: str) -> tuple[str, ...]:
    """Names of the capabilities that a process with this /proc/PID/status lacks."""
    effective = 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    return tuple(name for name, (bit, _) in CAPABILITIES.items() if not effective >> bit & 1)


def expect_capabilities() -> None:
    """Raise NotFit unless this process has what the dataplane needs."""
    missing = missing_capabilities(STATUS.read_text())
    if missing:
        needs = "; ".join(f"{name} to {CAPABILITIES[name][1]}" for name in missing)
        raise NotFit(
            f"the agent lacks {needs}: run it as root, with these capabilities added,"
            " or inside `unshare --user --map-root-user --net --mount`"
        )


def expect_settings(directory: Path = SETTINGS) -> None:
    """Raise NotFit unless the kernel's network settings can be written."""
    setting = directory / "ipv4/ip_forward"
    try:
        setting.write_text(setting.read_text())
    except OSError as error:
        raise NotFit(
            f"the kernel's settings below {directory} cannot be written ({error.strerror}):"
            " in a container, start it with --security-opt systempaths=unconfined, or privileged"
        ) from error


def expect_state_directory(directory: Path) -> None:
    """Raise NotFit unless the agent can keep files there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NotFit(
            f"the state directory {directory} cannot be written ({error.strerror}):"
            " make it writable, or name another with --state-dir"
        ) from error


def expect_no_felix(chains: Sequence[str], processes: Path = PROCESSES) -> None:
    """Raise NotFit if Calico's own agent is at work here, or has left its chains behind."""
    pids = tuple(felix_processes(processes))
    if pids:
        raise NotFit(
            f"Calico's Felix runs on this host (process {', '.join(map(str, pids))});"
            " two agents would undo each other: stop it first"
        )
    if chains:
        raise NotFit(felix_at_work(chains))


def felix_processes(processes: Path = PROCESSES) -> Iterator[int]:
    """Processes of Felix in the network namespace of the caller."""
    own = (processes / "self/ns/net").stat().st_ino
    for directory in sorted(processes.glob("[0-9]*")):
        # It may have ended by now, or be none of our business.
        with contextlib.suppress(OSError):
            command = (directory / "cmdline").read_bytes().split(b"\0")
            if _is_felix(command) and (directory / "ns/net").stat().st_ino == own:
                yield int(directory.name)


def _is_felix(command: Sequence[bytes]) -> bool:
    """Felix by its name, also as a script that an interpreter runs, or as part of calico-node."""
    names = [word.rpartition(b"/")[2] for word in command[:3]]
    return b"calico-felix" in names or (b"calico-node" in names[:1] and b"-felix" in command)


@contextlib.contextmanager
def only_agent() -> Iterator[None]:
    """Be the one agent of this network namespace while the body runs.

    The kernel gives the name up with the process, however it ends. Raises
    NotFit if another agent has it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(SOCKET)
        except OSError as error:
            raise NotFit(
                "another marathon-calico agent runs on this host; two would undo each other:"
                " stop it first"
            ) from error
        yield
