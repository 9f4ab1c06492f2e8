"""One task as its agent sees it, and what its end means."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from demo.mesos.records import LaunchOrder, TaskRecord, TaskState


@dataclass(frozen=True, slots=True)
class Container:
    """One task and the process it runs as."""

    order: LaunchOrder
    container_id: str
    record: TaskRecord
    started: int = 0
    killing: bool = False
    kill_at: float | None = None
    changed_at: float = 0.0


def judge_exit(status: int | None, killing: bool) -> tuple[TaskState, str]:
    """The final state of a task and the words Mesos has for it."""
    if killing:
        return TaskState.KILLED, "Command terminated with signal Terminated"
    if status is None:
        return TaskState.FAILED, "Command ended; its exit status is not known"
    if status == 0:
        return TaskState.FINISHED, "Command exited with status 0"
    if status < 0:
        return TaskState.FAILED, f"Command terminated with signal {signal.strsignal(-status)}"
    return TaskState.FAILED, f"Command exited with status {status}"
