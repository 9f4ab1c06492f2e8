"""The bodies of Marathon's events, as the code of its servers makes them."""

from __future__ import annotations

from dataclasses import dataclass

from demo.marathon.core.state import Deployment, Task
from demo.marathon.era import Era
from demo.marathon.replies.apps import render_addresses, render_plan, render_step
from demo.mesos.records import AppId, Json

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
    body: Json = {
        "slaveId": task.slave_id,
        "taskId": task.id,
        "taskStatus": str(task.state),
        "message": message,
        "appId": task.app_id,
        "host": task.host,
        "ipAddresses": render_addresses(task.addresses),
        "ports": list(task.ports),
        "version": task.version,
    }
    if not task.addresses and era.reports_task_state and not era.has_instances:
        # 1.1 to 1.3 leave the key out when Mesos named no address.
        del body["ipAddresses"]
    return _event("status_update_event", when, **body)


def instance_changed(when: str, task: Task, condition: str) -> Event:
    """The instance's condition has changed; there are no addresses in it."""
    return _event(
        "instance_changed_event",
        when,
        instanceId=instance_id(task),
        condition=condition,
        runSpecId=task.app_id,
        agentId=task.slave_id,
        host=task.host,
        runSpecVersion=task.version,
    )


def instance_id(task: Task) -> str:
    """The instance of a legacy task: the same uuid behind `marathon-`."""
    path, _, unique = task.id.rpartition(".")
    return f"{path}.marathon-{unique}"


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
