"""What REST answers: apps, tasks, deployments, the queue, the server itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

from demo.marathon.core.groups import ROOT, render_group
from demo.marathon.core.state import Action, App, Deployment, State, Task
from demo.marathon.era import Era
from demo.mesos.records import AppId, Json, TaskState

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


def render_app_info(app: App, state: State, era: Era, embed: Collection[str]) -> Json:
    """An app as lists and single reads show it; counts and deployments always."""
    tasks = state.tasks.get(app.id, {}).values()
    running = sum(task.state is TaskState.RUNNING for task in tasks)
    reply = {
        **render_app(app),
        "tasksStaged": len(tasks) - running,
        "tasksRunning": running,
        "tasksHealthy": 0,
        "tasksUnhealthy": 0,
        "deployments": [
            {"id": deployment.id}
            for deployment in state.deployments.values()
            if app.id in deployment.apps
        ],
    }
    if TASKS.intersection(embed):
        reply["tasks"] = [render_task(task, era) for task in tasks]
    if LAST_FAILURE.intersection(embed) and app.id in state.failures:
        reply["lastTaskFailure"] = state.failures[app.id]
    return reply


def render_task(task: Task, era: Era) -> Json:
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
    # From 1.1 on the key is missing when Mesos named no address.
    if task.addresses or not era.reports_task_state:
        reply["ipAddresses"] = render_addresses(task.addresses)
    return reply


def render_listed_task(task: Task, app: App | None, era: Era) -> Json:
    """One task of `/v2/tasks`, which adds the app's service ports."""
    reply = render_task(task, era)
    ports = service_ports(app.definition) if app is not None else []
    if ports:
        reply["servicePorts"] = ports
    return reply


def service_ports(definition: Json) -> list[int]:
    """The ports that a load balancer would serve the app on."""
    if definition.get("portDefinitions") is not None:
        return [entry["port"] for entry in definition["portDefinitions"]]
    mappings = (definition.get("container") or {}).get("portMappings") or []
    return [mapping["servicePort"] for mapping in mappings if mapping.get("servicePort")]


def render_addresses(addresses: Iterable[str]) -> list[Json]:
    """Addresses in Marathon's spelling."""
    return [
        {"ipAddress": text, "protocol": f"IPv{ipaddress.ip_address(text).version}"}
        for text in addresses
    ]


def render_root(state: State, era: Era) -> Json:
    """The whole tree of groups, apps as plain definitions."""
    return render_any_group(ROOT, state, era)


def render_any_group(group_id: AppId, state: State, era: Era, embed: Collection[str] = ()) -> Json:
    """One group of the tree; apps as plain definitions unless more is embedded."""
    named = frozenset(name.removeprefix("group.apps.") for name in embed)

    def render(app: App) -> Json:
        return render_app_info(app, state, era, named) if named else render_app(app)

    return render_group(group_id, state, render, era.has_instances)


def render_action(action: Action, era: Era) -> Json:
    """One app's part of a step."""
    return {era.action_key: str(action.kind), "app": action.app_id}


def render_step(step: Iterable[Action], era: Era) -> Json:
    """One step of a deployment."""
    return {"actions": [render_action(action, era) for action in step]}


def render_deployment(deployment: Deployment, era: Era) -> Json:
    """One row of `/v2/deployments`."""
    current = deployment.steps[deployment.current] if deployment.steps else ()
    reply: Json = {
        "id": deployment.id,
        "version": deployment.version,
        "affectedApps": sorted(deployment.apps),
        "steps": [render_step(step, era) for step in deployment.steps]
        if era.has_instances
        else [[render_action(action, era) for action in step] for step in deployment.steps],
        "currentActions": [render_action(action, era) for action in current],
        "currentStep": deployment.current + 1,
        "totalSteps": len(deployment.steps),
    }
    if era.has_instances:
        reply["affectedPods"] = []
    return reply


def render_plan(deployment: Deployment, era: Era) -> Json:
    """The plan as deployment events carry it, whole groups included."""
    return {
        "id": deployment.id,
        "version": deployment.version,
        "original": deployment.original,
        "target": deployment.target,
        "steps": [render_step(step, era) for step in deployment.steps],
    }


def render_info(state: State, era: Era, leader: str) -> Json:
    """`/v2/info`."""
    return {
        "name": "marathon",
        "version": f"{era}.13" if era.minor == 4 else f"{era}.0",
        "elected": True,
        "leader": leader,
        "frameworkId": state.framework_id,
        "marathon_config": {
            "checkpoint": True,
            "executor": "//cmd",
            "failover_timeout": 604800,
            "framework_name": "marathon",
            "ha": True,
            "hostname": leader.rpartition(":")[0],
            "local_port_max": 20000,
            "local_port_min": 10000,
            "task_launch_timeout": 300000,
        },
        "zookeeper_config": {"zk_timeout": 10000, "zk_session_timeout": 10000},
        "http_config": {"http_port": int(leader.rpartition(":")[2] or 0), "https_port": 8443},
    }
