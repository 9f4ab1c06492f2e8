"""What Marathon and a host's Mesos agent tell each other about tasks."""

from __future__ import annotations

import enum
from typing import Any, NewType

import msgspec

Json = dict[str, Any]
TaskId = NewType("TaskId", str)
AppId = NewType("AppId", str)
HostName = NewType("HostName", str)
PortRanges = tuple[tuple[int, int], ...]

#: What a Mesos agent has to offer unless its operator says otherwise.
DEFAULT_PORTS: PortRanges = ((31000, 32000),)


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


class CheckKind(enum.StrEnum):
    """How an executor looks whether its task is well."""

    HTTP = "http"
    TCP = "tcp"
    COMMAND = "command"


class HealthCheck(msgspec.Struct, frozen=True):
    """A check that the task's executor runs inside the task's own namespace.

    HTTP and TCP go to the task's loopback, as MESOS_HTTP and MESOS_TCP do; a
    command is executed as it stands, without a shell, in the task's environment.
    Durations are seconds. A task that has failed `failures` times in a row after
    its first `grace` seconds is killed by its executor; 0 never kills.
    """

    kind: CheckKind
    port: int = 0
    path: str = "/"
    argv: tuple[str, ...] = ()
    grace: float = 300.0
    interval: float = 60.0
    timeout: float = 20.0
    failures: int = 3
    delay: float = 15.0


class LaunchOrder(msgspec.Struct, frozen=True):
    """One task to start; `argv` is executed as it stands, without a shell.

    `networks` are the NetworkInfos that Marathon gives Mesos, in order, in Mesos'
    own JSON: `name` where the app names its network, `groups` up to Marathon 1.4,
    `labels` as `{"labels": [{"key", "value"}]}`, `port_mappings` and one empty
    IPAddress in `ip_addresses` where Marathon sends them. They say by what the
    host's agent attaches the task: every named one by the CNI plugin of that
    name, an unnamed one by net-modules where the host has it. A task in a
    namespace of its own that nothing attaches starts without a network.

    Within a GroupOrder `isolation` and `networks` are the group's. `discovery` is
    the DiscoveryInfo, which Mesos only passes on. `kill_grace` is what its executor
    leaves it between SIGTERM and SIGKILL, None for as long as the agent's flag says.
    """

    task_id: TaskId
    framework_id: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    isolation: Isolation = Isolation.HOST
    name: str = ""
    networks: tuple[Json, ...] = ()
    checks: tuple[HealthCheck, ...] = ()
    discovery: Json = {}
    kill_grace: float | None = None


class GroupOrder(msgspec.Struct, frozen=True):
    """A pod instance: tasks that one executor starts together, in one namespace.

    They share the executor's one attachment, hence its addresses. When one of
    them fails or is killed, the executor ends the others.
    """

    executor_id: str
    framework_id: str
    tasks: tuple[LaunchOrder, ...]
    isolation: Isolation = Isolation.HOST
    networks: tuple[Json, ...] = ()


class NetworkStatus(msgspec.Struct, frozen=True):
    """The addresses that a task has on one network; an unnamed network has no name."""

    name: str = ""
    addresses: tuple[str, ...] = ()


class TaskRecord(msgspec.Struct, frozen=True):
    """What an agent knows of one task.

    An attached task is STAGING until its executor has reached the agent from
    inside; why one could not be attached or did not register is the `message` of
    its FAILED. `addresses` are those of all networks in order, as Marathon takes
    them over; those of a task that shares its host's network are the host's.
    `healthy` is None before the first result of the task's own `checks`.
    """

    task_id: TaskId
    framework_id: str
    state: TaskState
    message: str = ""
    addresses: tuple[str, ...] = ()
    pid: int | None = None
    networks: tuple[NetworkStatus, ...] = ()
    healthy: bool | None = None
    container_id: str = ""


class TaskReport(msgspec.Struct, frozen=True):
    """All tasks of one agent at one revision; revisions grow across restarts.

    `ports` are the agent's resources of that name, as first and last numbers.
    """

    agent_id: str
    revision: int
    tasks: tuple[TaskRecord, ...] = ()
    ports: PortRanges = DEFAULT_PORTS


class LaunchReply(msgspec.Struct, frozen=True):
    """The revision from which on every report names the launched task."""

    revision: int
