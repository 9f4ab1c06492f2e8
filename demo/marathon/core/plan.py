"""Pure decisions: how many tasks to start and to end, where, and in which steps."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from demo.marathon.core.state import Action, ActionKind, App, Deployment, Task
from demo.marathon.definitions.apps import same_config
from demo.mesos.records import AppId, HostName, Json, TaskId, TaskState


@dataclass(frozen=True, slots=True)
class AppPlan:
    """What is missing and what is too much of one app, right now."""

    launches: int = 0
    kills: tuple[TaskId, ...] = ()


def plan_app(app: App, tasks: Collection[Task]) -> AppPlan:
    """Towards the wanted number of tasks of the present configuration.

    An old task ends only when enough others run, and a new one starts only
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
    strategy = app.definition["upgradeStrategy"]
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
    healthy = len(running) + sum(task.state is TaskState.RUNNING for task in fresh)
    spare = max(0, healthy - least)
    return AppPlan(launches, (*staging, *(task.id for task in running[:spare])))


def is_fresh(task: Task, app: App) -> bool:
    """True if the task runs the present configuration; a scale does not change that."""
    return task.version >= app.last_config_change_at


def is_settled(app: App, tasks: Collection[Task]) -> bool:
    """True when exactly the wanted tasks run, all of the present configuration."""
    return len(tasks) == app.instances and all(
        task.state is TaskState.RUNNING and not task.killing and is_fresh(task, app)
        for task in tasks
    )


def eligible_hosts(
    app: App, tasks: Iterable[Task], hosts: Sequence[HostName]
) -> tuple[HostName, ...]:
    """The hosts that the app's hostname constraints allow for one more task."""
    taken = [task.host for task in tasks]
    allowed = list(hosts)
    for constraint in app.definition["constraints"]:
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
    stops = [Action(ActionKind.STOP, app_id) for app_id in sorted(removed)]
    starts, changes = [], []
    for app_id, definition in sorted(definitions.items()):
        present = before.get(app_id)
        if present is None:
            starts.append(Action(ActionKind.START, app_id))
            changes.append(Action(ActionKind.SCALE, app_id))
        elif app_id in restarted or not same_config(present.definition, definition):
            changes.append(Action(ActionKind.RESTART, app_id))
        elif present.instances != definition["instances"]:
            changes.append(Action(ActionKind.SCALE, app_id))
    return tuple(tuple(step) for step in (stops, starts, changes) if step)


def waiting_apps(deployments: Iterable[Deployment]) -> frozenset[AppId]:
    """Apps whose turn in their deployment has not come yet."""
    return frozenset(
        action.app_id
        for deployment in deployments
        for step in deployment.steps[deployment.current + 1 :]
        for action in step
    )
