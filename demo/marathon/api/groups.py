"""`/v2/groups`: many apps in one body, replaced and removed together."""

from __future__ import annotations

from demo.marathon.api.request import Reply, Request, deployed
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.deployments import Change
from demo.marathon.core.groups import GroupChange, group_ids, inside, parse_group, remove_group
from demo.marathon.core.plan import plan_steps
from demo.marathon.definitions.apps import resolve_id
from demo.marathon.errors import ApiError, not_found
from demo.marathon.replies.apps import render_app_info
from demo.marathon.replies.system import render_any_group, render_step
from demo.mesos.records import AppId


def get_group(cluster: Cluster, _now: float, request: Request, path: str) -> Reply:
    """GET /v2/groups and /v2/groups/ID"""
    group_id = resolve_id(path, "/")
    if group_id not in group_ids(cluster.state):
        raise not_found("Group", group_id)
    group = render_any_group(group_id, cluster.state, cluster.era, request.embeds(), cluster.health)
    return Reply(group)


def list_group_apps(cluster: Cluster, _now: float, request: Request, path: str) -> Reply:
    """GET /v2/groups/ID/apps"""
    group_id = resolve_id(path, "/")
    if group_id not in group_ids(cluster.state):
        raise not_found("Group", group_id)
    embed = request.embeds()
    apps = [
        render_app_info(app, cluster.state, cluster.era, cluster.health, embed)
        for app_id, app in sorted(cluster.state.apps.items())
        if inside(app_id, group_id) and not app.is_pod
    ]
    return Reply({"apps": apps})


def create_group(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """POST /v2/groups"""
    body = request.object()
    group_id = resolve_id(body.get("id", path), path)
    if group_id in group_ids(cluster.state):
        raise ApiError(409, {"message": f"Group {group_id} is already created."})
    return _change(cluster, now, request, group_id, 201)


def put_group(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """PUT /v2/groups and /v2/groups/ID"""
    body = request.object()
    group_id = resolve_id(path, "/")
    if group_id == "/" and "id" in body:
        group_id = resolve_id(body["id"], "/")
    return _change(cluster, now, request, group_id, 200)


def delete_group(cluster: Cluster, now: float, request: Request, path: str) -> Reply:
    """DELETE /v2/groups and /v2/groups/ID"""
    group_id = resolve_id(path, "/")
    if group_id not in group_ids(cluster.state):
        raise not_found("Group", group_id)
    asked = remove_group(group_id, cluster.state)
    return deployed(cluster.change(Change(group_id, asked, request.flag("force")), now))


def _change(cluster: Cluster, now: float, request: Request, group_id: AppId, status: int) -> Reply:
    asked = parse_group(
        request.object(), group_id, cluster.state, cluster.era, cluster.default_network
    )
    _refuse_shared_ids(cluster, asked)
    if request.flag("dryRun"):
        steps = plan_steps(cluster.state.apps, asked.definitions, asked.removed_apps)
        return Reply({"steps": [render_step(step, cluster.era) for step in steps]})
    result = cluster.change(Change(group_id, asked, request.flag("force")), now)
    reply = deployed(result, status)
    if status == 201:
        return Reply(reply.body, status, {**reply.headers, "Location": f"/v2/groups{group_id}"})
    return reply


def _refuse_shared_ids(cluster: Cluster, asked: GroupChange) -> None:
    groups = (group_ids(cluster.state) | set(asked.groups)) - asked.removed_groups
    shared = sorted(groups & set(asked.definitions))
    if shared:
        message = f"Groups and Applications may not share ids: {', '.join(shared)}"
        raise ApiError(409, {"message": message})
