"""What /proc says about processes, and signals that cannot hit a stranger."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROC = Path("/proc")
# The most that Linux lets arguments and environment take together is of this order.
ENVIRONMENT_LIMIT = 1 << 21
DEATH_MILLISECONDS = 500


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None if there is none, or a zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold blanks and brackets: fields count from the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


@contextmanager
def process_handle(pid: int, started: int) -> Iterator[int | None]:
    """A pidfd of exactly that process, or None when it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Checked after the handle is open: from here on the pid cannot change hands.
        yield descriptor if start_time(pid) == started else None
    finally:
        os.close(descriptor)


def end_group(pid: int, started: int, number: signal.Signals) -> None:
    """Signal the group that this process leads, unless the process has ended."""
    with process_handle(pid, started) as handle:
        if handle is None:
            return
        try:
            # The leader lives, or waits to be reaped: its number is still its own.
            os.killpg(pid, number)
        except ProcessLookupError:
            return


def end_process(pid: int, started: int) -> None:
    """End exactly that process, if it has not ended yet."""
    with process_handle(pid, started) as handle:
        if handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)


def members(*task_ids: str, agent_id: str = "") -> list[tuple[int, int]]:
    """Pid and start time of every live process that was started within these tasks.

    With an `agent_id` only those of that agent: another's may have the same id.
    """
    needles = {b"MESOS_TASK_ID=" + task_id.encode() for task_id in task_ids}
    agent = b"MESOS_SLAVE_ID=" + agent_id.encode()
    found = []
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        try:
            with open(f"{PROC}/{name}/environ", "rb", buffering=0) as file:
                environment = file.read(ENVIRONMENT_LIMIT)
        except OSError:
            # It ended meanwhile, or it is not ours to look at: not a member then.
            continue
        variables = environment.split(b"\0")
        if needles.isdisjoint(variables) or (agent_id and agent not in variables):
            continue
        started = start_time(int(name))
        if started is not None:
            found.append((int(name), started))
    return found


def end_members(agent_id: str, *task_ids: str) -> None:
    """End what is left of an agent's tasks; on return it is gone, or stuck in the kernel."""
    for pid, started in members(*task_ids, agent_id=agent_id):
        with process_handle(pid, started) as handle:
            if handle is None:
                continue
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            except ProcessLookupError:
                continue
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(DEATH_MILLISECONDS)
