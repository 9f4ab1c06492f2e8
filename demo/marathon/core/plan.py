"""Pure decisions: how many tasks to start and to end, where, and in which steps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from demo.marathon.core.state import Action, ActionKind, App, Deployment, Task
from demo.marathon.definitions.apps import same_config
from demo.marathon.definitions.pods import constraints_of, instances_of, is_pod
from demo.mesos.records import AppId, HostName, Json, TaskId, TaskState


@dataclass(frozen=True, slots=True)
class AppPlan:
    """What is missing and what is too much of one app, right now."""

    launches: int = 0
    kills: tuple[TaskId, ...] = ()


def runs(task: Task) -> bool:
    """True once the task's state says so."""
    return task.state is TaskState.RUNNING


def plan_app(app: App, tasks: Collection[Task], is_ready: Callable[[Task], bool] = runs) -> AppPlan:
    """Towards the wanted number of tasks of the present configuration.

    An old task ends only when enough others are ready, and a new one starts only
    while there is room; both limits are the app's upgrade strategy.
    """
    alive = [task for task in tasks if not task.killing]
    fresh = [task for task in alive if is_fresh(task, app)]
    old = [task for task in alive if not is_fresh(task, app)]
    wanted = app.instances
    if not old:
        # A mere scale: the youngest go first.
        surplus = sorted(fresh, key=lambda task: (task.staged_at, task.id))[wanted:]
        return AppPlan(max(0, wanted - len(fresh)), tuple(task.id for task in surplus))
    strategy = app.strategy
    least = math.ceil(wanted * strategy["minimumHealthCapacity"])
    most = wanted + math.floor(wanted * strategy["maximumOverCapacity"])
    if least == wanted == most:
        # Neither more nor fewer: nothing could ever move, so one more is allowed.
        most += 1
    # What is being killed still takes its place.
    launches = max(0, min(wanted - len(fresh), most - len(tasks)))
    staging = [task.id for task in old if task.state is not TaskState.RUNNING]
    running = [task for task in old if task.state is TaskState.RUNNING]
    running.sort(key=lambda task: (task.staged_at, task.id))
    # An old task that is not ready holds nothing up: ending it loses nothing.
    unready = [task.id for task in running if not is_ready(task)]
    ready = [task.id for task in running if is_ready(task)]
    spare = max(0, len(ready) + sum(map(is_ready, fresh)) - least)
    return AppPlan(launches, (*staging, *unready, *ready[:spare]))


def is_fresh(task: Task, app: App) -> bool:
    """True if the task runs the present configuration; a scale does not change that."""
    return task.version >= app.last_config_change_at


def is_settled(app: App, tasks: Collection[Task], is_ready: Callable[[Task], bool] = runs) -> bool:
    """True when exactly the wanted tasks are ready, all of the present configuration."""
    return len(tasks) == app.instances and all(
        is_ready(task) and not task.killing and is_fresh(task, app) for task in tasks
    )


def eligible_hosts(
    app: App, tasks: Iterable[Task], hosts: Sequence[HostName]
) -> tuple[HostName, ...]:
    """The hosts that the app's hostname constraints allow for one more task."""
    taken = [task.host for task in tasks]
    allowed = list(hosts)
    for constraint in constraints_of(app.definition):
        match constraint:
            case ["hostname", "UNIQUE", *_]:
                allowed = [host for host in allowed if host not in taken]
            case ["hostname", "CLUSTER" | "IS", name]:
                allowed = [host for host in allowed if host == name]
            case ["hostname", "CLUSTER"] if taken:
                allowed = [host for host in allowed if host in taken]
            case ["hostname", "LIKE", pattern]:
                allowed = [host for host in allowed if re.fullmatch(pattern, host)]
            case ["hostname", "UNLIKE", pattern]:
                allowed = [host for host in allowed if not re.fullmatch(pattern, host)]
            case ["hostname", "MAX_PER", number]:
                allowed = [host for host in allowed if taken.count(host) < int(number)]
    return tuple(allowed)


def plan_steps(
    before: Mapping[AppId, App],
    definitions: Mapping[AppId, Json],
    removed: Collection[AppId],
    restarted: Collection[AppId] = (),
) -> tuple[tuple[Action, ...], ...]:
    """Removals first, then starts, then what is scaled or restarted."""
    pods = {app.id for app in before.values() if app.is_pod}
    stops = [Action(ActionKind.STOP, app_id, app_id in pods) for app_id in sorted(removed)]
    starts, changes = [], []
    for app_id, definition in sorted(definitions.items()):
        present, pod = before.get(app_id), is_pod(definition)
        if present is None:
            starts.append(Action(ActionKind.START, app_id, pod))
            changes.append(Action(ActionKind.SCALE, app_id, pod))
        elif app_id in restarted or not same_config(present.definition, definition):
            changes.append(Action(ActionKind.RESTART, app_id, pod))
        elif present.instances != instances_of(definition):
            changes.append(Action(ActionKind.SCALE, app_id, pod))
    return tuple(tuple(step) for step in (stops, starts, changes) if step)


def waiting_apps(deployments: Iterable[Deployment]) -> frozenset[AppId]:
    """Apps whose turn in their deployment has not come yet."""
    return frozenset(
        action.app_id
        for deployment in deployments
        for step in deployment.steps[deployment.current + 1 :]
        for action in step
    )
