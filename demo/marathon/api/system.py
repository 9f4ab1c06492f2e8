"""Tasks, deployments, the queue and what the server says of itself."""

from __future__ import annotations

from demo.marathon.api.apps import kill_tasks
from demo.marathon.api.request import Reply, Request, deployed
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.deployments import Change
from demo.marathon.core.groups import GroupChange
from demo.marathon.core.plan import plan_app
from demo.marathon.core.state import timestamp
from demo.marathon.errors import ApiError, bad_parameter
from demo.marathon.replies.apps import render_app, render_listed_task
from demo.marathon.replies.pods import render_pod
from demo.marathon.replies.system import render_deployment
from demo.mesos.records import AppId, TaskId, TaskState


def list_tasks(cluster: Cluster, _now: float, request: Request) -> Reply:
    """GET /v2/tasks"""
    wanted = {*request.query.get("status", ()), *request.query.get("status[]", ())}
    tasks = [
        render_listed_task(task, cluster.state.apps.get(task.app_id), cluster.era, cluster.health)
        for task in cluster.tasks()
        if not task.parts
        and (not wanted or ("running" if task.state is TaskState.RUNNING else "staging") in wanted)
    ]
    return Reply({"tasks": tasks})


def kill_listed_tasks(cluster: Cluster, now: float, request: Request) -> Reply:
    """POST /v2/tasks/delete"""
    ids = request.object().get("ids")
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise bad_parameter("Invalid JSON: ids must be a list of task ids")
    for item in ids:
        if "." not in item:
            raise bad_parameter(f"Invalid task id '{item}'")
    tasks = [task for item in ids if (task := cluster.task(TaskId(item))) is not None]
    return kill_tasks(cluster, now, request, tasks, lambda killed: {"tasks": killed})


def list_deployments(cluster: Cluster, _now: float, _request: Request) -> Reply:
    """GET /v2/deployments"""
    deployments = cluster.state.deployments.values()
    return Reply([render_deployment(deployment, cluster.era) for deployment in deployments])


def cancel_deployment(cluster: Cluster, now: float, request: Request, deployment_id: str) -> Reply:
    """DELETE /v2/deployments/ID; without force a deployment back to before"""
    deployment = cluster.state.deployments.get(deployment_id)
    if deployment is None:
        message = f"DeploymentPlan {deployment_id} does not exist"
        raise ApiError(404, {"message": message})
    if request.flag("force"):
        cluster.cancel(deployment_id, now)
        return Reply(None, 202)
    asked = GroupChange()
    for app_id in deployment.apps & set(cluster.state.apps):
        versions = cluster.state.versions[app_id]
        earlier = [version for version in sorted(versions) if version < deployment.version]
        if earlier:
            asked.definitions[app_id] = versions[earlier[-1]].definition
        else:
            asked.removed_apps.add(app_id)
    return deployed(cluster.change(Change(AppId("/"), asked, force=True), now))


def list_queue(cluster: Cluster, now: float, request: Request) -> Reply:
    """GET /v2/queue"""
    with_offers = "lastUnusedOffers" in request.embeds()
    rows = []
    for app_id, app in sorted(cluster.state.apps.items()):
        tasks = cluster.state.tasks.get(app_id, {}).values()
        count = plan_app(app, tasks, cluster.health.is_ready).launches
        if count:
            left = cluster.seconds_until_launch(app_id, now)
            delay = {"timeLeftSeconds": int(left), "overdue": left <= 0}
            subject = {"pod": render_pod(app)} if app.is_pod else {"app": render_app(app)}
            row = {**subject, "count": count, "delay": delay}
            if cluster.era.has_instances:
                row |= cluster.offers.render(app_id, timestamp(now), with_offers)
            rows.append(row)
    return Reply({"queue": rows})


def reset_delay(cluster: Cluster, _now: float, _request: Request, path: str) -> Reply:
    """DELETE /v2/queue/APP/delay"""
    app_id = AppId("/" + path.strip("/"))
    if app_id not in cluster.state.apps:
        raise ApiError(404, {"message": f"Application {app_id} not found in tasks queue."})
    cluster.reset_delay(app_id)
    return Reply(None, 204)


def list_agents(cluster: Cluster, _now: float, _request: Request) -> Reply:
    """GET /slaves of the Mesos master: agents that are registered, which get tasks"""
    return Reply({"slaves": [{"hostname": host, "active": True} for host in cluster.reachable()]})
