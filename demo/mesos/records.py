"""What Marathon and a host's Mesos agent tell each other about tasks."""

from __future__ import annotations

import enum
from typing import Any, NewType

import msgspec

Json = dict[str, Any]
TaskId = NewType("TaskId", str)
AppId = NewType("AppId", str)
HostName = NewType("HostName", str)


class Isolation(enum.StrEnum):
    """Whether a task shares its host's network or has a namespace of its own."""

    HOST = "host"
    NAMESPACE = "namespace"


class TaskState(enum.StrEnum):
    """The task states that Mesos reports and Marathon passes on."""

    STAGING = "TASK_STAGING"
    RUNNING = "TASK_RUNNING"
    FINISHED = "TASK_FINISHED"
    FAILED = "TASK_FAILED"
    KILLED = "TASK_KILLED"
    LOST = "TASK_LOST"

    @property
    def terminal(self) -> bool:
        """True once the task will never run again."""
        return self not in (TaskState.STAGING, TaskState.RUNNING)


class LaunchOrder(msgspec.Struct, frozen=True):
    """One task to start; `argv` is executed as it stands, without a shell."""

    task_id: TaskId
    framework_id: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    isolation: Isolation = Isolation.HOST
    name: str = ""
    network: Json | None = None


class TaskRecord(msgspec.Struct, frozen=True):
    """What an agent knows of one task."""

    task_id: TaskId
    framework_id: str
    state: TaskState
    message: str = ""
    addresses: tuple[str, ...] = ()
    pid: int | None = None


class TaskReport(msgspec.Struct, frozen=True):
    """All tasks of one agent at one revision; revisions grow across restarts."""

    agent_id: str
    revision: int
    tasks: tuple[TaskRecord, ...] = ()


class LaunchReply(msgspec.Struct, frozen=True):
    """The revision from which on every report names the launched task."""

    revision: int
