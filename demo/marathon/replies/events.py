"""The bodies of Marathon's events, as the code of its servers makes them."""

from __future__ import annotations

from dataclasses import dataclass

from demo.marathon.core.state import Deployment, Part, Task
from demo.marathon.era import Era
from demo.marathon.launch.identity import app_of, instance_id
from demo.marathon.replies.apps import render_addresses
from demo.marathon.replies.system import render_plan, render_step
from demo.mesos.records import AppId, Json, TaskId, TaskRecord, TaskState

CONDITIONS = {
    "TASK_STAGING": "Staging",
    "TASK_RUNNING": "Running",
    "TASK_FINISHED": "Finished",
    "TASK_FAILED": "Failed",
    "TASK_KILLED": "Killed",
    "TASK_LOST": "Unreachable",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `light` is the body without the plan's two group trees."""

    name: str
    body: Json
    light: Json


def _event(name: str, when: str, **body: object) -> Event:
    whole = {**body, "eventType": name, "timestamp": when}
    plan = body.get("plan")
    if not isinstance(plan, dict):
        return Event(name, whole, whole)
    short = {key: value for key, value in plan.items() if key not in ("original", "target")}
    return Event(name, whole, {**whole, "plan": short})


def stream_attached(when: str, remote_address: str) -> Event:
    """Someone has opened the stream; everybody is told."""
    return _event("event_stream_attached", when, remoteAddress=remote_address)


def stream_detached(when: str, remote_address: str) -> Event:
    """Someone's stream has ended; everybody else is told."""
    return _event("event_stream_detached", when, remoteAddress=remote_address)


def status_update(when: str, task: Task, message: str, era: Era) -> Event:
    """A task has a new state."""
    return _status_update(when, task, task.id, task.state, message, era)


def part_update(when: str, task: Task, part: Part, era: Era) -> Event:
    """One task of a pod's instance has a new state; the addresses are the instance's."""
    return _status_update(when, task, part.id, part.state, part.message, era)


def _status_update(
    when: str, task: Task, task_id: TaskId, state: TaskState, message: str, era: Era
) -> Event:
    body: Json = {
        "slaveId": task.slave_id,
        "taskId": task_id,
        "taskStatus": str(state),
        "message": message,
        "appId": task.app_id,
        "host": task.host,
        "ipAddresses": render_addresses(task.addresses),
        "ports": list(task.ports),
        "version": task.version,
    }
    if not task.addresses and not era.names_missing_addresses:
        # 1.1 to 1.3 leave the key out when Mesos named no address.
        del body["ipAddresses"]
    return _event("status_update_event", when, **body)


def instance_changed(when: str, task: Task, condition: str) -> Event:
    """The instance's condition has changed; there are no addresses in it."""
    return _event(
        "instance_changed_event",
        when,
        instanceId=instance_id(task.id),
        condition=condition,
        runSpecId=task.app_id,
        agentId=task.slave_id,
        host=task.host,
        runSpecVersion=task.version,
    )


def unknown_terminated(when: str, record: TaskRecord) -> Event:
    """A task has ended that no app is known to have."""
    return _event(
        "unknown_instance_terminated_event",
        when,
        instanceId=instance_id(record.task_id),
        runSpecId=app_of(record.task_id),
        condition=CONDITIONS[record.state],
    )


def instance_health_changed(when: str, task: Task, healthy: bool | None) -> Event:
    """The instance is well, is not, or nobody knows any more."""
    return _event(
        "instance_health_changed_event",
        when,
        instanceId=instance_id(task.id),
        runSpecId=task.app_id,
        healthy=healthy,
        runSpecVersion=task.version,
    )


def health_status_changed(when: str, task: Task, alive: bool, era: Era) -> Event:
    """One check's opinion of a task has changed."""
    subject = {"instanceId": instance_id(task.id)} if era.has_instances else {"taskId": task.id}
    return _event(
        "health_status_changed_event",
        when,
        appId=task.app_id,
        version=task.version,
        alive=alive,
        **subject,
    )


def failed_health_check(when: str, task: Task, check: Json, era: Era) -> Event:
    """One look at a task found it unwell."""
    subject: Json = {"taskId": task.id}
    if era.uses_networks:
        # From 1.5 on the key is the task's again, its value stays the instance's.
        subject = {"taskId": instance_id(task.id)}
    elif era.has_instances:
        subject = {"instanceId": instance_id(task.id)}
    return _event(
        "failed_health_check_event", when, appId=task.app_id, healthCheck=check, **subject
    )


def unhealthy_kill(when: str, task: Task, reason: str, era: Era) -> Event:
    """Marathon ends a task for its health."""
    body: Json = {
        "appId": task.app_id,
        "taskId": task.id,
        "version": task.version,
        "reason": reason,
        "host": task.host,
        "slaveId": task.slave_id,
    }
    if not era.has_instances:
        return _event("unhealthy_task_kill_event", when, **body)
    return _event("unhealthy_instance_kill_event", when, **body, instanceId=instance_id(task.id))


def add_health_check(when: str, app_id: AppId, version: str, check: Json) -> Event:
    """An app is looked at from now on."""
    return _event("add_health_check_event", when, appId=app_id, version=version, healthCheck=check)


def remove_health_check(when: str, app_id: AppId) -> Event:
    """An app is no longer looked at; by what check, is not said."""
    return _event("remove_health_check_event", when, appId=app_id)


def pod_event(name: str, when: str, client: str, uri: str) -> Event:
    """A pod was created, updated or deleted over REST."""
    return _event(name, when, clientIp=client, uri=uri)


def subscription(name: str, when: str, client: str, callback: str) -> Event:
    """A callback was added or taken away."""
    return _event(name, when, clientIp=client, callbackUrl=callback)


def api_post(when: str, client: str, uri: str, definition: Json) -> Event:
    """A single app was created or updated over REST; nothing has happened yet."""
    return _event("api_post_event", when, clientIp=client, uri=uri, appDefinition=definition)


def group_change_success(when: str, group_id: str, version: str) -> Event:
    """A change was accepted."""
    return _event("group_change_success", when, groupId=group_id, version=version)


def deployment_info(when: str, deployment: Deployment, era: Era) -> Event:
    """A step begins."""
    return _step_event("deployment_info", when, deployment, era)


def deployment_step_success(when: str, deployment: Deployment, era: Era) -> Event:
    """A step is done."""
    return _step_event("deployment_step_success", when, deployment, era)


def _step_event(name: str, when: str, deployment: Deployment, era: Era) -> Event:
    step = render_step(deployment.steps[deployment.current], era)
    return _event(name, when, plan=render_plan(deployment, era), currentStep=step)


def deployment_success(when: str, deployment: Deployment, era: Era) -> Event:
    """All steps are done."""
    plan = render_plan(deployment, era)
    return _event("deployment_success", when, id=deployment.id, plan=plan)


def deployment_failed(when: str, deployment: Deployment, era: Era) -> Event:
    """The deployment was cancelled."""
    plan = render_plan(deployment, era)
    return _event("deployment_failed", when, id=deployment.id, plan=plan)


def app_terminated(when: str, app_id: AppId) -> Event:
    """The last task of a removed app has ended."""
    return _event("app_terminated_event", when, appId=app_id)


def scheduler_registered(when: str, framework_id: str) -> Event:
    """This Marathon has become the scheduler."""
    return _event("scheduler_registered_event", when, frameworkId=framework_id, master="localhost")
