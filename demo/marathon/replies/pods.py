"""What REST answers about pods."""

from __future__ import annotations

from collections.abc import Iterable

from demo.marathon.core.plan import is_fresh
from demo.marathon.core.results import Opinions
from demo.marathon.core.state import App, Part, State, Task
from demo.mesos.records import Json, TaskState


def render_pod(app: App) -> Json:
    """The definition with its version."""
    return {**app.definition, "version": app.version}


def render_pod_status(app: App, state: State, health: Opinions, when: str) -> Json:
    """A pod, its instances and how far they are."""
    tasks = list(state.tasks.get(app.id, {}).values())
    instances = [render_instance(app, task, health, when) for task in tasks]
    stable = len(instances) == app.instances and all(
        instance["status"] == "STABLE" and is_fresh(task, app)
        for instance, task in zip(instances, tasks, strict=True)
    )
    terminal = not instances and app.instances == 0
    return {
        "id": app.id,
        "spec": render_pod(app),
        "status": "TERMINAL" if terminal else "STABLE" if stable else "DEGRADED",
        "statusSince": when,
        "instances": instances,
        "terminationHistory": [],
        "lastUpdated": when,
        "lastChanged": app.version,
    }


def render_instance(app: App, task: Task, health: Opinions, when: str) -> Json:
    """One instance; its containers share its addresses."""
    reply: Json = {
        "id": task.id,
        "status": _status(task, health),
        "statusSince": task.started_at or task.staged_at,
        "conditions": [],
        "agentHostname": task.host,
        "resources": app.definition["executorResources"],
        "networks": _networks(app, task),
        "containers": list(_containers(app, task, when)),
        "specReference": f"/v2/pods{app.id}::versions/{task.version}",
        "localVolumes": [],
        "lastUpdated": when,
        "lastChanged": task.started_at or task.staged_at,
    }
    if task.slave_id:
        reply["agentId"] = task.slave_id
    return reply


def _status(task: Task, health: Opinions) -> str:
    states = {part.state for part in task.parts}
    if all(state.terminal for state in states):
        return "TERMINAL"
    if any(state.terminal for state in states):
        return "DEGRADED"
    if states != {TaskState.RUNNING}:
        return "STAGING"
    return "DEGRADED" if health.alive(task) is False else "STABLE"


def _networks(app: App, task: Task) -> list[Json]:
    """Addresses by network: better than what is told of apps."""
    if task.networks:
        return [
            {**({"name": each.name} if each.name else {}), "addresses": list(each.addresses)}
            for each in task.networks
        ]
    own = app.definition["networks"][0]["mode"] != "host"
    return [{"addresses": list(task.addresses)}] if own and task.addresses else []


def _containers(app: App, task: Task, when: str) -> Iterable[Json]:
    allocated = iter(task.ports)
    for part, container in zip(task.parts, app.definition["containers"], strict=False):
        endpoints = []
        for endpoint in container["endpoints"]:
            shown: Json = {"name": endpoint["name"]}
            if endpoint.get("hostPort") is not None:
                shown["allocatedHostPort"] = next(allocated, None)
            if part.healthy is not None and _is_checked(container, endpoint):
                shown["healthy"] = part.healthy
            endpoints.append(shown)
        yield _container(part, container, endpoints, when)


def _container(part: Part, container: Json, endpoints: list[Json], when: str) -> Json:
    shown: Json = {
        "name": part.name,
        "status": str(part.state),
        "statusSince": when,
        "conditions": [],
        "containerId": part.id,
        "endpoints": endpoints,
        "resources": container["resources"],
        "lastUpdated": when,
        "lastChanged": when,
    }
    if part.message:
        shown["message"] = part.message
    return shown


def _is_checked(container: Json, endpoint: Json) -> bool:
    check = container.get("healthCheck") or {}
    return any(
        (check.get(kind) or {}).get("endpoint") == endpoint["name"] for kind in ("http", "tcp")
    )
