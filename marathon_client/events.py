"""The events of Marathon's stream, reduced to what they hint at; pure.

An event is no fact: events are lost, repeated and reordered, and a body may be
older than what REST already shows. It only names what to read again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from marathon_client.errors import one_line
from marathon_client.models import AppId, TaskId, TaskState, parse_state
from marathon_client.wire import DECODE_ERRORS

EVENT_TYPES: tuple[str, ...] = (
    "event_stream_attached",
    "api_post_event",
    "group_change_success",
    "status_update_event",
    "instance_changed_event",
    "unknown_instance_terminated_event",
    "deployment_success",
    "deployment_failed",
    "app_terminated_event",
    "pod_created_event",
    "pod_updated_event",
    "pod_deleted_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
)


@dataclass(frozen=True, slots=True)
class AppChanged:
    """Read these apps (or pods) again."""

    app_ids: tuple[AppId, ...]


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task was reported in this state; read its app again.

    `told` is when Marathon said so, in seconds by its own clock; None if it gave no
    time. It orders events of one leader, which may arrive late and twice. One that is
    `of_instance` is dated when Marathon made it; others when it heard of the state, by
    as many seconds earlier as it lags behind Mesos.
    """

    app_id: AppId
    task_id: TaskId
    state: TaskState
    host: str | None
    told: float | None = None
    of_instance: bool = False


@dataclass(frozen=True, slots=True)
class AppTerminated:
    """The app's last task has ended after its deletion."""

    app_id: AppId


@dataclass(frozen=True, slots=True)
class EverythingChanged:
    """Read the whole list again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Somebody, perhaps we, subscribed to the stream; `told` as in TaskStatus."""

    told: float | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A type without meaning for the network of tasks."""

    event_type: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that would have meant something: a hint is lost, so resync."""

    event_type: str
    reason: str


MarathonEvent = (
    AppChanged | TaskStatus | AppTerminated | EverythingChanged | Subscribed | Ignored | Unreadable
)


class _Wire(msgspec.Struct, rename="camel"):
    pass


class _Typed(_Wire):
    event_type: str | None = None


class _Attached(_Wire):
    timestamp: object = None


class _StatusUpdate(_Wire):
    app_id: str
    task_id: str
    task_status: str
    host: str | None = None
    timestamp: object = None


class _Instance(_Wire):
    run_spec_id: str
    instance_id: str | None = None
    condition: str | None = None
    host: str | None = None
    timestamp: object = None


class _Definition(_Wire):
    id: str


class _ApiPost(_Wire):
    app_definition: _Definition


class _GroupChange(_Wire):
    group_id: str | None = None


class _Terminated(_Wire):
    app_id: str


class _PodChange(_Wire):
    uri: str


class _Action(_Wire):
    app: str | None = None
    pod: str | None = None


class _Step(_Wire):
    actions: list[_Action] | None = None


class _DeploymentPlan(_Wire):
    steps: list[_Step] | None = None


class _Deployment(_Wire):
    plan: _DeploymentPlan | None = None


_T = TypeVar("_T", bound=_Wire)


def _reader(
    wire: type[_T], reduce: Callable[[_T], MarathonEvent]
) -> Callable[[str], MarathonEvent]:
    decoder = msgspec.json.Decoder(wire)
    return lambda data: reduce(decoder.decode(data))


def _moment(text: object) -> float | None:
    """Of whatever else it may be, the event is worth more than its time."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _status(body: _StatusUpdate) -> MarathonEvent:
    return TaskStatus(
        app_id=AppId(body.app_id),
        task_id=TaskId(body.task_id),
        state=parse_state(body.task_status),
        host=body.host or None,
        told=_moment(body.timestamp),
    )


#: Conditions of an instance that are no state of a task, or are by another name.
_CONDITIONS = {
    "created": TaskState.STAGING,
    "scheduled": TaskState.STAGING,
    "provisioned": TaskState.STAGING,
    "reserved": TaskState.STAGING,
    "unreachableinactive": TaskState.UNREACHABLE,
}


def _instance(body: _Instance) -> MarathonEvent:
    """The instance is what a pod has as its task; of an app's it tells nothing more."""
    app_id = AppId(body.run_spec_id)
    if not body.instance_id or not body.condition:
        return AppChanged((app_id,))
    condition = body.condition.lower()
    state = _CONDITIONS.get(condition) or parse_state(f"TASK_{condition.upper()}")
    return TaskStatus(
        app_id=app_id,
        task_id=TaskId(body.instance_id),
        state=state,
        host=body.host or None,
        told=_moment(body.timestamp),
        of_instance=True,
    )


def _deployment(body: _Deployment) -> MarathonEvent:
    steps = (body.plan.steps if body.plan else None) or []
    subjects = [a.app or a.pod for step in steps for a in step.actions or ()]
    ids = tuple(dict.fromkeys(AppId(subject) for subject in subjects if subject))
    return AppChanged(ids) if ids else EverythingChanged("a deployment ended")


def _pod(body: _PodChange) -> MarathonEvent:
    # The uri is what the caller typed: one slash or two, with or without a query.
    path = body.uri.partition("?")[0].rpartition("/v2/pods/")[2].strip("/")
    return AppChanged((AppId(f"/{path}"),))


_TYPE = msgspec.json.Decoder(_Typed)
_READERS: Mapping[str, Callable[[str], MarathonEvent]] = {
    "status_update_event": _reader(_StatusUpdate, _status),
    "instance_changed_event": _reader(_Instance, _instance),
    "unknown_instance_terminated_event": _reader(_Instance, _instance),
    "api_post_event": _reader(_ApiPost, lambda b: AppChanged((AppId(b.app_definition.id),))),
    "app_terminated_event": _reader(_Terminated, lambda b: AppTerminated(AppId(b.app_id))),
    "group_change_success": _reader(
        _GroupChange, lambda b: EverythingChanged(f"group {one_line(b.group_id or '/')} changed")
    ),
    "deployment_success": _reader(_Deployment, _deployment),
    "deployment_failed": _reader(_Deployment, _deployment),
    "pod_created_event": _reader(_PodChange, _pod),
    "pod_updated_event": _reader(_PodChange, _pod),
    "pod_deleted_event": _reader(_PodChange, _pod),
    "scheduler_registered_event": _reader(
        _Typed, lambda _: EverythingChanged("Marathon registered with Mesos")
    ),
    "scheduler_reregistered_event": _reader(
        _Typed, lambda _: EverythingChanged("Marathon registered again with Mesos")
    ),
    "event_stream_attached": _reader(_Attached, lambda b: Subscribed(_moment(b.timestamp))),
}


def parse_event(name: str, data: str) -> MarathonEvent:
    """What the event hints at; never raises.

    Some servers and proxies put several JSON lines into one event: their hints
    are merged.
    """
    event = _parse_one(name, data)
    lines = [line for line in data.splitlines() if line.strip()]
    if not isinstance(event, Unreadable) or len(lines) < 2:
        return event
    return _merged([_parse_one(name, line) for line in lines])


def _parse_one(name: str, data: str) -> MarathonEvent:
    try:
        event_type = _TYPE.decode(data).event_type or name
    except DECODE_ERRORS as error:
        return Unreadable(one_line(name), one_line(str(error)))
    read = _READERS.get(event_type)
    if read is None:
        return Ignored(one_line(event_type))
    try:
        return read(data)
    except DECODE_ERRORS as error:
        return Unreadable(event_type, one_line(str(error)))


def _merged(events: list[MarathonEvent]) -> MarathonEvent:
    telling = [
        event for event in dict.fromkeys(events) if not isinstance(event, Ignored | Subscribed)
    ]
    if not telling:
        return events[0]
    if len(telling) == 1:
        return telling[0]
    ids: list[AppId] = []
    for event in telling:
        match event:
            case AppChanged(app_ids):
                ids.extend(app_ids)
            case TaskStatus(app_id=app_id) | AppTerminated(app_id):
                ids.append(app_id)
            case EverythingChanged():
                return event
            case Unreadable():
                return EverythingChanged(f"one of several {event.event_type} is unreadable")
    return AppChanged(tuple(dict.fromkeys(ids)))
