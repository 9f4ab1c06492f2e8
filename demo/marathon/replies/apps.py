"""What REST answers about apps and their tasks."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

from demo.marathon.core.results import CheckResult, Opinions
from demo.marathon.core.state import App, State, Task
from demo.marathon.definitions.ports import service_ports
from demo.marathon.era import Era
from demo.marathon.launch.identity import instance_id
from demo.mesos.records import Json, TaskState

Embed = Collection[str]
#: Every host is in one region; each is a zone of its own.
REGION = "primary"
TASKS = frozenset({"tasks", "failures"})
LAST_FAILURE = frozenset({"lastTaskFailure", "failures"})
EVERYTHING = frozenset({"tasks", "lastTaskFailure"})


def render_app(app: App) -> Json:
    """The definition with its versions, without anything that embeds add."""
    return {
        **app.definition,
        "version": app.version,
        "versionInfo": {
            "lastScalingAt": app.last_scaling_at,
            "lastConfigChangeAt": app.last_config_change_at,
        },
    }


def render_app_info(app: App, state: State, era: Era, health: Opinions, embed: Embed) -> Json:
    """An app as lists and single reads show it; counts and deployments always."""
    tasks = state.tasks.get(app.id, {}).values()
    running = sum(task.state is TaskState.RUNNING for task in tasks)
    opinions = [health.alive(task) for task in tasks]
    reply = {
        **render_app(app),
        "tasksStaged": len(tasks) - running,
        "tasksRunning": running,
        "tasksHealthy": opinions.count(True),
        "tasksUnhealthy": opinions.count(False),
        "deployments": [
            {"id": deployment.id}
            for deployment in state.deployments.values()
            if app.id in deployment.apps
        ],
    }
    if TASKS.intersection(embed):
        reply["tasks"] = [render_task(task, era, health) for task in tasks]
    if LAST_FAILURE.intersection(embed) and app.id in state.failures:
        reply["lastTaskFailure"] = state.failures[app.id]
    return reply


def render_task(task: Task, era: Era, health: Opinions) -> Json:
    """One task as embedded in its app."""
    reply: Json = {
        "id": task.id,
        "appId": task.app_id,
        "host": task.host,
        "slaveId": task.slave_id or None,
        "ports": list(task.ports),
        "stagedAt": task.staged_at,
        "startedAt": task.started_at,
        "version": task.version,
    }
    if era.has_instances:
        reply["localVolumes"] = []
    if era.reports_task_state:
        reply["state"] = str(task.state)
    if era.tells_regions:
        reply |= {"region": REGION, "zone": task.host}
    if era.has_roles:
        reply["role"] = "*"
    addresses = [] if era.hides_addresses else render_addresses(task.addresses)
    # Before 1.1 the key was always there; since, it is missing until Mesos has
    # named a network, which from 1.5 on may be one without an address.
    if addresses or not era.reports_task_state or (era.uses_networks and task.started_at):
        reply["ipAddresses"] = addresses
    results = [_render_result(task, result, era) for result in health.results(task)]
    if results:
        reply["healthCheckResults"] = results
    return reply


def _render_result(task: Task, result: CheckResult, era: Era) -> Json:
    subject = {"instanceId": instance_id(task.id)} if era.has_instances else {"taskId": task.id}
    return {
        "alive": result.alive,
        "consecutiveFailures": result.consecutive_failures,
        "firstSuccess": result.first_success,
        "lastFailure": result.last_failure,
        "lastSuccess": result.last_success,
        "lastFailureCause": result.last_failure_cause,
        **subject,
    }


def render_failure(task: Task, message: str, when: str) -> Json:
    """The last failure of an app: how this task ended."""
    return {
        "appId": task.app_id,
        "host": task.host,
        "message": message,
        "state": str(task.state),
        "taskId": task.id,
        "timestamp": when,
        "version": task.version,
        "slaveId": task.slave_id,
    }


def render_listed_task(task: Task, app: App | None, era: Era, health: Opinions) -> Json:
    """One task of `/v2/tasks`, which adds the app's service ports."""
    reply = render_task(task, era, health)
    ports = service_ports(app.definition) if app is not None else []
    if ports:
        reply["servicePorts"] = ports
    return reply


def render_addresses(addresses: Iterable[str]) -> list[Json]:
    """Addresses in Marathon's spelling."""
    return [
        {"ipAddress": text, "protocol": f"IPv{ipaddress.ip_address(text).version}"}
        for text in addresses
    ]
