"""Apps and tasks as Marathon 0.14 to 1.10 knows them; pure.

Values are kept as declared: a port of 70000 or a strange group survives, since
whether it can be honoured is for the reader to say, with a reason.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NewType

import netaddr

AppId = NewType("AppId", str)
TaskId = NewType("TaskId", str)


class TaskState(enum.Enum):
    """The states of a Mesos task; a string we do not know is UNKNOWN."""

    STAGING = "TASK_STAGING"
    STARTING = "TASK_STARTING"
    RUNNING = "TASK_RUNNING"
    KILLING = "TASK_KILLING"
    FINISHED = "TASK_FINISHED"
    FAILED = "TASK_FAILED"
    KILLED = "TASK_KILLED"
    ERROR = "TASK_ERROR"
    LOST = "TASK_LOST"
    DROPPED = "TASK_DROPPED"
    GONE = "TASK_GONE"
    GONE_BY_OPERATOR = "TASK_GONE_BY_OPERATOR"
    UNREACHABLE = "TASK_UNREACHABLE"
    UNKNOWN = "TASK_UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """True if the task surely never runs again; a LOST one may come back."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        TaskState.FINISHED,
        TaskState.FAILED,
        TaskState.KILLED,
        TaskState.ERROR,
        TaskState.DROPPED,
        TaskState.GONE,
        TaskState.GONE_BY_OPERATOR,
    }
)
_STATES: Mapping[str, TaskState] = {state.value: state for state in TaskState}


def parse_state(text: str) -> TaskState:
    """The state of that name, else UNKNOWN."""
    return _STATES.get(text, TaskState.UNKNOWN)


class NetworkMode(enum.Enum):
    """Where a task's sockets are."""

    HOST = "host"
    BRIDGE = "container/bridge"
    CONTAINER = "container"


class NetworkForm(enum.Enum):
    """How the app declares its network: up to Marathon 1.4, and since 1.5."""

    IP_ADDRESS = "ipAddress"
    NETWORKS = "networks"


@dataclass(frozen=True, slots=True)
class PortOpening:
    """A port the app declares; number and protocol are as declared, unchecked.

    With a `task_port_index` the number is 0 and each task's own
    `ports[task_port_index]` is meant, if the task has that many.
    """

    number: int
    protocol: str
    name: str
    task_port_index: int | None = None


@dataclass(frozen=True, slots=True)
class AppNetwork:
    """One network other than the host's, with the ports that are declared on it."""

    mode: NetworkMode
    name: str | None
    groups: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    ports: tuple[PortOpening, ...]
    form: NetworkForm

    def label(self, name: str) -> str | None:
        """The value of a network label, or None."""
        return lookup(self.labels, name)


@dataclass(frozen=True, slots=True)
class Task:
    """One task, with the addresses that Mesos reports for it, in order."""

    id: TaskId
    app_id: AppId
    host: str | None
    state: TaskState
    addresses: tuple[netaddr.IPAddress, ...] = ()
    ports: tuple[int, ...] = ()
    version: str | None = None
    staged_at: str | None = None
    started_at: str | None = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """One app; it has no `networks` on the host's network, and several only since 1.5.

    `config_version` stays when the app is merely scaled, `version` does not. A
    `pod` is read as an app whose tasks are its instances.
    """

    id: AppId
    version: str
    config_version: str
    networks: tuple[AppNetwork, ...]
    labels: tuple[tuple[str, str], ...] = ()
    instances: int = 1
    tasks: tuple[Task, ...] = ()
    pod: bool = False

    def label(self, name: str) -> str | None:
        """The value of an app label, or None."""
        return lookup(self.labels, name)


@dataclass(frozen=True, slots=True)
class Problem:
    """An app that is present in Marathon but could not be understood."""

    app_id: AppId | None
    reason: str


@dataclass(frozen=True, slots=True)
class AppList:
    """Every app of one complete reply: each is in `apps` or in `problems`."""

    apps: tuple[App, ...]
    problems: tuple[Problem, ...]
    leader: str | None


@dataclass(frozen=True, slots=True)
class Info:
    """Who answers; `framework_id` is None before Marathon has registered."""

    version: str
    framework_id: str | None
    leader: str | None


def lookup(pairs: Iterable[tuple[str, str]], name: str) -> str | None:
    """The value of that name, or None."""
    return next((value for key, value in pairs if key == name), None)
