"""What the cluster wants done outside: a closed union, carried out by the loop."""

from __future__ import annotations

from dataclasses import dataclass

from demo.marathon.replies.events import Event
from demo.mesos.records import GroupOrder, HostName, LaunchOrder, TaskId


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell every stream."""

    event: Event


@dataclass(frozen=True, slots=True)
class Launch:
    """Ask the host's agent to start a task."""

    host: HostName
    order: LaunchOrder


@dataclass(frozen=True, slots=True)
class LaunchGroup:
    """Ask the host's agent to start a pod's instance."""

    host: HostName
    instance: TaskId
    group: GroupOrder


@dataclass(frozen=True, slots=True)
class Kill:
    """Ask the host's agent to end a task."""

    host: HostName
    task_id: TaskId


Effect = Publish | Launch | LaunchGroup | Kill
