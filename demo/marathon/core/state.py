"""What Marathon keeps: apps and their versions, groups, tasks, deployments."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from demo.marathon.definitions.pods import instances_of, is_pod, strategy_of
from demo.mesos.records import AppId, HostName, Json, NetworkStatus, TaskId, TaskState
from demo.mesos.store import write_durably

VERSIONS_KEPT = 50


class App(msgspec.Struct, frozen=True):
    """One app or pod as of one version; `definition` is its JSON without the version."""

    id: AppId
    definition: Json
    version: str
    last_scaling_at: str
    last_config_change_at: str

    @property
    def is_pod(self) -> bool:
        """True for a pod: its instances are several tasks each."""
        return is_pod(self.definition)

    @property
    def instances(self) -> int:
        """How many instances there should be."""
        return instances_of(self.definition)

    @property
    def strategy(self) -> Json:
        """How many instances may be missing or too many during a change."""
        return strategy_of(self.definition)


class Part(msgspec.Struct, frozen=True):
    """One task of a pod's instance."""

    id: TaskId
    name: str
    state: TaskState = TaskState.STAGING
    healthy: bool | None = None
    message: str = ""


class Task(msgspec.Struct, frozen=True):
    """One instance from the moment it is placed until its terminal state.

    That of an app is one task; that of a pod has its tasks as `parts`, and the
    instance's own id.
    """

    id: TaskId
    app_id: AppId
    host: HostName
    version: str
    staged_at: str
    state: TaskState = TaskState.STAGING
    slave_id: str = ""
    ports: tuple[int, ...] = ()
    started_at: str | None = None
    addresses: tuple[str, ...] = ()
    # The agent's revision from which on its reports name the task.
    launched: int | None = None
    killing: bool = False
    networks: tuple[NetworkStatus, ...] = ()
    # What the task's executor says of its health.
    healthy: bool | None = None
    parts: tuple[Part, ...] = ()

    @property
    def task_ids(self) -> tuple[TaskId, ...]:
        """The ids that the host's agent knows it by."""
        return tuple(part.id for part in self.parts) or (self.id,)


class ActionKind(enum.StrEnum):
    """What a deployment does with one app."""

    START = "StartApplication"
    STOP = "StopApplication"
    SCALE = "ScaleApplication"
    RESTART = "RestartApplication"


class Action(msgspec.Struct, frozen=True):
    """One app's part of a step."""

    kind: ActionKind
    app_id: AppId
    pod: bool = False


class Deployment(msgspec.Struct, frozen=True):
    """Steps that are done one after the other; `current` is the one under way."""

    id: str
    version: str
    steps: tuple[tuple[Action, ...], ...]
    current: int = 0
    original: Json = {}
    target: Json = {}

    @property
    def apps(self) -> frozenset[AppId]:
        """Every app that the deployment touches, hence locks."""
        return frozenset(action.app_id for step in self.steps for action in step)


class Group(msgspec.Struct, frozen=True):
    """What a group has of its own; which apps are in it, their ids say."""

    version: str
    dependencies: tuple[str, ...] = ()


class State(msgspec.Struct):
    """All of it; the only mutable value, owned by the cluster."""

    framework_id: str
    era: str = ""
    last_timestamp: str = ""
    next_service_port: int = 10000
    apps: dict[AppId, App] = {}
    versions: dict[AppId, dict[str, App]] = {}
    groups: dict[AppId, Group] = {}
    tasks: dict[AppId, dict[TaskId, Task]] = {}
    failures: dict[AppId, Json] = {}
    deployments: dict[str, Deployment] = {}
    callbacks: list[str] = []


def new_state() -> State:
    """A Marathon that has never run; the framework id is drawn here, once."""
    return State(framework_id=f"{uuid.uuid4()}-0000")


class StateFile:
    """The state on disk, or nowhere if there is no path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> State:
        """The state of the last run, or that of a first one."""
        if self._path is None or not self._path.exists():
            return new_state()
        return msgspec.json.decode(self._path.read_bytes(), type=State)

    def save(self, state: State) -> None:
        """Replace the file durably; a crash leaves the old or the new state."""
        if self._path is not None:
            write_durably(self._path, msgspec.json.encode(state))


def timestamp(now: float) -> str:
    """A moment as Marathon writes it: UTC, milliseconds, `Z`."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def later_timestamp(now: float, last: str) -> str:
    """The moment, or a millisecond after `last` if that is not in the past."""
    stamp = timestamp(now)
    if stamp > last:
        return stamp
    return timestamp(datetime.fromisoformat(last).timestamp() + 0.0015)
