"""The ids of tasks and instances, as each era makes them."""

from __future__ import annotations

import re
import uuid

from demo.marathon.era import Era
from demo.mesos.records import AppId, TaskId

# Behind `instance-` comes a part's name, and from 1.8 on a number.
_INCARNATION = re.compile(r"(.+\.(?:instance|marathon)-[^_.]+)[._][^.]+(?:\.\d+)?")


def safe_path(app_id: str) -> str:
    """The app's id as the first part of its tasks' ids."""
    return app_id.strip("/").replace("/", "_")


def app_task_id(app_id: AppId, unique: uuid.UUID, era: Era) -> TaskId:
    """The id of an app's new task."""
    if era.numbers_incarnations:
        return TaskId(f"{safe_path(app_id)}.instance-{unique}._app.1")
    return TaskId(f"{safe_path(app_id)}.{unique}")


def pod_instance_id(app_id: AppId, unique: uuid.UUID) -> TaskId:
    """The id of a pod's new instance."""
    return TaskId(f"{safe_path(app_id)}.instance-{unique}")


def pod_task_id(instance: TaskId, name: str, era: Era) -> TaskId:
    """The id of one container's task of an instance."""
    return TaskId(f"{instance}.{name}.1" if era.numbers_incarnations else f"{instance}.{name}")


def next_incarnation(task_id: TaskId) -> TaskId:
    """The id of the task that takes the place of one that ended by itself, since 1.8."""
    path, _, number = task_id.rpartition(".")
    return TaskId(f"{path}.{int(number) + 1}")


def instance_id(task_id: TaskId) -> str:
    """The instance of an app's task; of a legacy one the same uuid behind `marathon-`."""
    match = _INCARNATION.fullmatch(task_id)
    if match is not None:
        return match.group(1)
    path, _, unique = task_id.rpartition(".")
    return task_id if unique.startswith("instance-") else f"{path}.marathon-{unique}"


def executor_id(instance: TaskId) -> str:
    """The executor of a pod's instance: the kind comes first."""
    path, _, unique = instance.rpartition(".")
    return f"instance-{path}.{unique.removeprefix('instance-')}"


def app_of(task_id: TaskId) -> AppId:
    """The app or pod of a task's id: an app's own id has no `_`."""
    path = instance_id(task_id).rpartition(".")[0]
    return AppId("/" + path.replace("_", "/"))
