"""One executor's container as its agent sees it, and what the end of a task means."""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass, field, replace

from demo.mesos.records import (
    GroupOrder,
    Json,
    LaunchOrder,
    NetworkStatus,
    TaskId,
    TaskRecord,
    TaskState,
)


class Stage(enum.IntEnum):
    """How far a container is; an unattached one goes from the first to the last."""

    FORKING = 1
    ATTACHING = 2
    REGISTERING = 3
    UP = 4


@dataclass(frozen=True, slots=True)
class Process:
    """A pid that cannot be mistaken; `started` is 0 for one that has ended already."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Member:
    """One task of a container and the process it runs as."""

    order: LaunchOrder
    record: TaskRecord
    process: Process | None = None
    killing: bool = False
    kill_at: float | None = None
    changed_at: float = 0.0

    @property
    def task_id(self) -> TaskId:
        """Its task."""
        return self.order.task_id


@dataclass(frozen=True, slots=True)
class Container:
    """An executor with its tasks: one for an app, those of the instance for a pod.

    The executor of a lone task becomes the task, that of a pod only holds the
    namespaces which the tasks share. `isolator` names what attaches it, empty
    for nothing; `infos` are its NetworkInfos with the addresses it was given,
    `env` what the isolator adds to the environment of its tasks.
    """

    container_id: str
    group: GroupOrder
    alone: bool
    members: tuple[Member, ...]
    isolator: str = ""
    stage: Stage = Stage.FORKING
    executor: Process | None = None
    infos: tuple[Json, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    register_by: float | None = None
    addresses_at: float | None = None

    @property
    def announced(self) -> bool:
        """Whether Marathon is told of tasks that do not run yet."""
        return bool(self.isolator) or not self.alone or self.stage is Stage.UP

    @property
    def task_ids(self) -> tuple[TaskId, ...]:
        """Its tasks."""
        return tuple(member.task_id for member in self.members)

    @property
    def over(self) -> bool:
        """Whether every task has ended."""
        return all(member.record.state.terminal for member in self.members)

    def member(self, task_id: TaskId) -> Member:
        """Its member of that id, which there is."""
        return next(member for member in self.members if member.task_id == task_id)

    def with_member(self, changed: Member) -> Container:
        """The container with one member changed."""
        members = (changed if m.task_id == changed.task_id else m for m in self.members)
        return replace(self, members=tuple(members))


def statuses_of(infos: tuple[Json, ...]) -> tuple[NetworkStatus, ...]:
    """The addresses of a container by network."""
    return tuple(
        NetworkStatus(
            info.get("name", ""),
            tuple(entry["ip_address"] for entry in info.get("ip_addresses", ())),
        )
        for info in infos
    )


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


def render_duration(seconds: float) -> str:
    """A duration as Mesos writes it: `1mins`, `30secs`, `500ms`."""
    for unit, name in ((60.0, "mins"), (1.0, "secs")):
        if seconds >= unit:
            return f"{seconds / unit:.15g}{name}"
    return f"{seconds * 1000:.15g}ms"


def new_members(group: GroupOrder, container_id: str) -> tuple[Member, ...]:
    """The tasks of an order, none of which runs yet."""
    return tuple(
        Member(
            order,
            TaskRecord(
                order.task_id, group.framework_id, TaskState.STAGING, container_id=container_id
            ),
        )
        for order in group.tasks
    )
