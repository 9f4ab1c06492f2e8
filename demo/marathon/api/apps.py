"""`/v2/apps`: definitions, versions and the tasks of one app."""

from __future__ import annotations

from collections.abc import Callable

from demo.marathon.api.request import Reply, Request, deployed, of_deployment
from demo.marathon.api.selectors import parse_selector
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.deployments import Change
from demo.marathon.core.groups import GroupChange, group_ids, inside, parent
from demo.marathon.core.state import App, Task
from demo.marathon.definitions.apps import merge_app, parse_app, resolve_id
from demo.marathon.definitions.pods import instances_of, with_instances
from demo.marathon.errors import ApiError, bad_parameter, invalid_json, not_found
from demo.marathon.replies import events
from demo.marathon.replies.apps import EVERYTHING, render_app, render_app_info, render_task
from demo.mesos.records import AppId, Json, TaskId


def list_apps(cluster: Cluster, _now: float, request: Request) -> Reply:
    """GET /v2/apps"""
    labels = [parse_selector(text) for text in request.query.get("label", ())]
    wanted_id, wanted_cmd = request.value("id"), request.value("cmd")
    embed = request.embeds()
    apps = [
        render_app_info(app, cluster.state, cluster.era, cluster.health, embed)
        for _, app in sorted(cluster.state.apps.items())
        if not app.is_pod
        and (wanted_id is None or wanted_id in app.id)
        and (wanted_cmd is None or wanted_cmd in (app.definition["cmd"] or ""))
        and all(fits(app.definition["labels"]) for fits in labels)
    ]
    return Reply({"apps": apps})


def create_app(cluster: Cluster, now: float, request: Request) -> Reply:
    """POST /v2/apps"""
    definition = parse_app(request.object(), "/", cluster.era, cluster.default_network)
    app_id = definition["id"]
    if app_id in cluster.state.apps:
        raise ApiError(409, {"message": f"An app with id [{app_id}] already exists."})
    if app_id in group_ids(cluster.state):
        raise ApiError(409, {"message": f"Groups and Applications may not share ids: {app_id}"})
    result = _deploy(cluster, now, request, {app_id: definition})
    reply = render_app(cluster.state.apps[app_id])
    # The server answers before it knows of a history.
    del reply["versionInfo"]
    reply |= {
        "tasksStaged": 0,
        "tasksRunning": 0,
        "tasksHealthy": 0,
        "tasksUnhealthy": 0,
        "deployments": [{"id": result["deploymentId"]}],
        "tasks": [],
    }
    return Reply(reply, 201, {"Location": f"/v2/apps/{app_id}", **of_deployment(result)})


def put_apps(cluster: Cluster, now: float, request: Request) -> Reply:
    """PUT and PATCH /v2/apps"""
    updates = request.json()
    if not isinstance(updates, list):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsarray"]}])
    definitions: dict[AppId, Json] = {}
    for update in updates:
        if not isinstance(update, dict):
            raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
        app_id = resolve_id(update.get("id"), "/")
        definitions[app_id] = _updated(cluster, app_id, update, request)
    change = Change(AppId("/"), GroupChange(definitions=definitions), force=request.flag("force"))
    return deployed(cluster.change(change, now))


def get_app(cluster: Cluster, _now: float, request: Request, path: str) -> Reply:
    """GET /v2/apps/ID, and /v2/apps/GROUP/* for everything below a group"""
    if path.endswith("/*"):
        return Reply(
            {
                "*": [
                    render_app_info(
                        app, cluster.state, cluster.era, cluster.health, request.embeds()
                    )
                    for app in _apps_at(cluster, path)
                ]
            }
        )
    app = _app(cluster, path)
    embed = EVERYTHING | request.embeds()
    info = render_app_info(app, cluster.state, cluster.era, cluster.health, embed)
    return Reply({"app": info})


def put_app(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """PUT and PATCH /v2/apps/ID"""
    app_id = resolve_id(path, "/")
    update = request.object()
    if "id" in update and resolve_id(update["id"], "/") != app_id:
        raise ApiError(422, {"message": f"The app id {update['id']} does not match {app_id}"})
    present = cluster.state.apps.get(app_id)
    if present is not None and present.is_pod:
        raise ApiError(409, {"message": f"A pod with id [{app_id}] already exists."})
    if present is None and request.method == "PATCH":
        raise not_found("App", app_id)
    definition = _updated(cluster, app_id, update, request)
    result = _deploy(cluster, now, request, {app_id: definition})
    return deployed(result, 201 if present is None else 200)


def delete_app(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """DELETE /v2/apps/ID"""
    app = _app(cluster, path)
    # Removing is allowed while a deployment of the app is stuck.
    force = request.flag("force", default=True)
    change = Change(_changed_group(cluster, app.id), GroupChange(removed_apps={app.id}), force)
    return deployed(cluster.change(change, now))


def restart_app(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """POST /v2/apps/ID/restart"""
    app = _app(cluster, path)
    change = Change(
        _changed_group(cluster, app.id),
        GroupChange(definitions={app.id: app.definition}),
        request.flag("force"),
        frozenset({app.id}),
    )
    return deployed(cluster.change(change, now))


def list_versions(cluster: Cluster, _now: float, _request: Request, path: str) -> Reply:
    """GET /v2/apps/ID/versions"""
    app = _app(cluster, path)
    return Reply({"versions": sorted(cluster.state.versions[app.id], reverse=True)})


def get_version(cluster: Cluster, _now: float, _request: Request, path: str, version: str) -> Reply:
    """GET /v2/apps/ID/versions/TIMESTAMP"""
    app = _app(cluster, path)
    return Reply(render_app(_version(cluster, app.id, version)))


def list_app_tasks(cluster: Cluster, _now: float, _request: Request, path: str) -> Reply:
    """GET /v2/apps/ID/tasks, also for everything below a group"""
    if not path.endswith("*"):
        _app(cluster, path)
    tasks = [task for app in _apps_at(cluster, path) for task in _tasks(cluster, app.id)]
    if not tasks and not path.endswith("*") and not cluster.era.reports_task_state:
        raise not_found("App", str(resolve_id(path, "/")))
    return Reply({"tasks": [render_task(task, cluster.era, cluster.health) for task in tasks]})


def kill_app_tasks(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """DELETE /v2/apps/ID/tasks"""
    app = _app(cluster, path)
    host = request.value("host")
    tasks = [task for task in _tasks(cluster, app.id) if host in (None, task.host)]
    return kill_tasks(cluster, now, request, tasks, lambda killed: {"tasks": killed})


def kill_app_task(cluster: Cluster, now: float, request: Request, path: str, task_id: str) -> Reply:
    """DELETE /v2/apps/ID/tasks/TASK"""
    app = _app(cluster, path)
    task = cluster.task(TaskId(task_id))
    if task is None or task.app_id != app.id:
        raise not_found("Task", task_id)
    return kill_tasks(cluster, now, request, [task], lambda killed: {"task": killed[0]})


def kill_tasks(
    cluster: Cluster,
    now: float,
    request: Request,
    tasks: list[Task],
    render: Callable[[list[Json]], Json],
) -> Reply:
    """End tasks; with `scale=true` their apps shrink by as many."""
    if not request.flag("scale"):
        reply = Reply(render([render_task(task, cluster.era, cluster.health) for task in tasks]))
        cluster.kill(tasks, now)
        cluster.look_at(task.app_id for task in tasks)
        return reply
    definitions: dict[AppId, Json] = {}
    for task in tasks:
        app = cluster.state.apps[task.app_id]
        present = definitions.get(app.id, app.definition)
        definitions[app.id] = with_instances(present, max(0, instances_of(present) - 1))
    change = Change(AppId("/"), GroupChange(definitions=definitions), force=request.flag("force"))
    result = cluster.change(change, now)
    cluster.kill(tasks, now)
    return deployed(result)


def _deploy(cluster: Cluster, now: float, request: Request, definitions: dict[AppId, Json]) -> Json:
    (app_id,) = definitions
    change = Change(
        _changed_group(cluster, app_id),
        GroupChange(definitions=definitions),
        request.flag("force"),
        announce=lambda when, app: events.api_post(
            when, request.client, request.path, render_app(app)
        ),
    )
    return cluster.change(change, now)


def _updated(cluster: Cluster, app_id: AppId, update: Json, request: Request) -> Json:
    present = cluster.state.apps.get(app_id)
    if present is None:
        return parse_app({**update, "id": app_id}, "/", cluster.era, cluster.default_network)
    if set(update) - {"id"} == {"version"}:
        # Back to an earlier definition.
        return _version(cluster, app_id, str(update["version"])).definition
    partial = request.flag("partialUpdate", default=True) or not cluster.era.has_instances
    if partial or request.method == "PATCH":
        return merge_app(present.definition, update, cluster.era, cluster.default_network)
    return parse_app({**update, "id": app_id}, "/", cluster.era, cluster.default_network)


def _version(cluster: Cluster, app_id: AppId, version: str) -> App:
    if len(version) != len("2016-08-05T12:00:01.250Z"):
        raise bad_parameter(f"Invalid format: {version!r}")
    found = cluster.state.versions.get(app_id, {}).get(version)
    if found is None:
        raise not_found("App", f"{app_id} in version {version}")
    return found


def _changed_group(cluster: Cluster, app_id: AppId) -> AppId:
    """The group that a single app's change is announced for."""
    return AppId("/") if cluster.era.uses_networks else parent(app_id)


def _app(cluster: Cluster, path: str) -> App:
    app_id = resolve_id(path, "/")
    app = cluster.state.apps.get(app_id)
    if app is None or app.is_pod:
        raise not_found("App", app_id)
    return app


def _apps_at(cluster: Cluster, path: str) -> list[App]:
    if not path.endswith("*"):
        return [_app(cluster, path)]
    group = resolve_id(path.removesuffix("*"), "/")
    apps = [app for app_id, app in sorted(cluster.state.apps.items()) if inside(app_id, group)]
    return [app for app in apps if not app.is_pod]


def _tasks(cluster: Cluster, app_id: AppId) -> list[Task]:
    return list(cluster.state.tasks.get(app_id, {}).values())
