"""`/v2/pods`: definitions, status, versions and instances of pods."""

from __future__ import annotations

from demo.marathon.api.request import Reply, Request, of_deployment
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.deployments import Change
from demo.marathon.core.groups import GroupChange, group_ids
from demo.marathon.core.state import App, Task, timestamp
from demo.marathon.definitions.apps import resolve_id
from demo.marathon.definitions.pods import parse_pod
from demo.marathon.errors import ApiError, invalid_json, not_found
from demo.marathon.replies import events
from demo.marathon.replies.pods import render_instance, render_pod, render_pod_status
from demo.mesos.records import AppId, Json, TaskId


def list_pods(cluster: Cluster, _now: float, _request: Request) -> Reply:
    """GET /v2/pods"""
    return Reply([render_pod(app) for app in _pods(cluster)])


def list_status(cluster: Cluster, now: float, _request: Request) -> Reply:
    """GET /v2/pods/::status"""
    return Reply([_status(cluster, app, now) for app in _pods(cluster)])


def create_pod(cluster: Cluster, now: float, request: Request) -> Reply:
    """POST /v2/pods"""
    body = request.object()
    if "id" not in body:
        raise invalid_json([{"path": "/id", "errors": ["error.path.missing"]}])
    app_id = resolve_id(body["id"], "/")
    if app_id in cluster.state.apps or app_id in group_ids(cluster.state):
        raise ApiError(409, {"message": f"{app_id} already exists"})
    result = _deploy(cluster, now, request, app_id, body)
    _tell(cluster, now, request, "pod_created_event", app_id)
    headers = {"Location": f"/v2/pods{app_id}", **of_deployment(result)}
    return Reply(render_pod(cluster.state.apps[app_id]), 201, headers)


def get_pod(cluster: Cluster, _now: float, _request: Request, path: str) -> Reply:
    """GET /v2/pods/ID"""
    return Reply(render_pod(_pod(cluster, path)))


def put_pod(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """PUT /v2/pods/ID: the whole definition, also of a pod that is not there yet"""
    app_id, body = resolve_id(path, "/"), request.object()
    if "id" in body and resolve_id(body["id"], "/") != app_id:
        raise ApiError(422, {"message": f"The pod id {body['id']} does not match {app_id}"})
    present = cluster.state.apps.get(app_id)
    if present is not None and not present.is_pod:
        raise ApiError(409, {"message": f"An app with id [{app_id}] already exists."})
    result = _deploy(cluster, now, request, app_id, body)
    _tell(cluster, now, request, "pod_updated_event", app_id)
    return Reply(render_pod(cluster.state.apps[app_id]), 200, of_deployment(result))


def delete_pod(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """DELETE /v2/pods/ID"""
    app_id = _pod(cluster, path).id
    asked = GroupChange(removed_apps={app_id})
    result = cluster.change(Change(AppId("/"), asked, request.flag("force")), now)
    _tell(cluster, now, request, "pod_deleted_event", app_id)
    return Reply(None, 202, of_deployment(result))


def get_status(cluster: Cluster, now: float, _request: Request, path: str) -> Reply:
    """GET /v2/pods/ID::status"""
    return Reply(_status(cluster, _pod(cluster, path), now))


def list_versions(cluster: Cluster, _now: float, _request: Request, path: str) -> Reply:
    """GET /v2/pods/ID::versions"""
    return Reply(sorted(cluster.state.versions[_pod(cluster, path).id], reverse=True))


def get_version(cluster: Cluster, _now: float, _request: Request, path: str, version: str) -> Reply:
    """GET /v2/pods/ID::versions/TIMESTAMP"""
    app_id = _pod(cluster, path).id
    found = cluster.state.versions[app_id].get(version)
    if found is None:
        raise not_found("Pod", f"{app_id} in version {version}")
    return Reply(render_pod(found))


def kill_instances(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """DELETE /v2/pods/ID::instances"""
    app, ids = _pod(cluster, path), request.json()
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsarray"]}])
    found = (cluster.task(TaskId(item)) for item in ids)
    tasks = [task for task in found if task is not None and task.app_id == app.id]
    return Reply(_killed(cluster, app, tasks, now))


def kill_instance(
    cluster: Cluster, now: float, _request: Request, path: str, instance: str
) -> Reply:
    """DELETE /v2/pods/ID::instances/INSTANCE"""
    app, task = _pod(cluster, path), cluster.task(TaskId(instance))
    if task is None or task.app_id != app.id:
        raise not_found("Instance", instance)
    return Reply(_killed(cluster, app, [task], now)[0])


def _killed(cluster: Cluster, app: App, tasks: list[Task], now: float) -> list[Json]:
    shown = [render_instance(app, task, cluster.health, timestamp(now)) for task in tasks]
    cluster.kill(tasks, now)
    cluster.look_at([app.id])
    return shown


def _deploy(cluster: Cluster, now: float, request: Request, app_id: AppId, body: Json) -> Json:
    definition = parse_pod(body, app_id, cluster.default_network)
    asked = GroupChange(definitions={app_id: definition})
    return cluster.change(Change(AppId("/"), asked, request.flag("force")), now)


def _tell(cluster: Cluster, now: float, request: Request, name: str, app_id: AppId) -> None:
    uri = f"/v2/pods/{app_id}"
    cluster.tell(events.pod_event(name, timestamp(now), request.client, uri))


def _status(cluster: Cluster, app: App, now: float) -> Json:
    return render_pod_status(app, cluster.state, cluster.health, timestamp(now))


def _pods(cluster: Cluster) -> list[App]:
    return [app for _, app in sorted(cluster.state.apps.items()) if app.is_pod]


def _pod(cluster: Cluster, path: str) -> App:
    app_id = resolve_id(path, "/")
    app = cluster.state.apps.get(app_id)
    if app is None or not app.is_pod:
        raise not_found("Pod", app_id)
    return app
