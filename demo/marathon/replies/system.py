"""What REST answers about groups, deployments and the server itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from demo.marathon.core.groups import ROOT, render_group
from demo.marathon.core.results import Opinions
from demo.marathon.core.state import Action, App, Deployment, State
from demo.marathon.era import Era
from demo.marathon.replies.apps import render_app, render_app_info
from demo.marathon.replies.pods import render_pod
from demo.mesos.records import AppId, Json


def render_root(state: State, era: Era) -> Json:
    """The whole tree of groups, apps as plain definitions."""
    return render_any_group(ROOT, state, era)


def render_any_group(
    group_id: AppId,
    state: State,
    era: Era,
    embed: Collection[str] = (),
    health: Opinions | None = None,
) -> Json:
    """One group of the tree; apps as plain definitions unless more is embedded."""
    named = frozenset(name.removeprefix("group.apps.") for name in embed)

    def render(app: App) -> Json:
        if app.is_pod:
            return render_pod(app)
        if named and health is not None:
            return render_app_info(app, state, era, health, named)
        return render_app(app)

    return render_group(group_id, state, render, era.has_instances)


def render_action(action: Action, era: Era) -> Json:
    """One app's or pod's part of a step."""
    if action.pod:
        return {era.action_key: action.kind.replace("Application", "Pod"), "pod": action.app_id}
    return {era.action_key: str(action.kind), "app": action.app_id}


def render_step(step: Iterable[Action], era: Era) -> Json:
    """One step of a deployment."""
    return {"actions": [render_action(action, era) for action in step]}


def render_deployment(deployment: Deployment, era: Era) -> Json:
    """One row of `/v2/deployments`."""
    pods = {a.app_id for step in deployment.steps for a in step if a.pod}
    current = deployment.steps[deployment.current] if deployment.steps else ()
    reply: Json = {
        "id": deployment.id,
        "version": deployment.version,
        "affectedApps": sorted(deployment.apps - pods),
        "steps": [render_step(step, era) for step in deployment.steps]
        if era.has_instances
        else [[render_action(action, era) for action in step] for step in deployment.steps],
        "currentActions": [render_action(action, era) for action in current],
        "currentStep": deployment.current + 1,
        "totalSteps": len(deployment.steps),
    }
    if era.has_instances:
        reply["affectedPods"] = sorted(pods)
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
    info: Json = {
        "name": "marathon",
        "version": era.version,
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
    if era.uses_networks:
        info["buildref"] = "stand-in"
    if era.has_callbacks:
        info["event_subscriber"] = {"type": "http_callback", "http_endpoints": None}
    return info
