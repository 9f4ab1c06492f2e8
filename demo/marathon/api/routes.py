"""Which handler answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from demo.marathon.api import apps, groups, pods, subscriptions, system
from demo.marathon.api.request import Reply, Request
from demo.marathon.core.cluster import Cluster
from demo.marathon.era import Era
from demo.marathon.errors import ApiError

Handler = Callable[..., Reply]
READS = frozenset({"GET", "HEAD"})
ID = r"(/.*?)"


class MethodNotAllowed(Exception):
    """The path is known, the method is not one of its own."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method, the whole path as a pattern, who answers, and in which eras."""

    method: str
    path: re.Pattern[str]
    handler: Handler
    exists: Callable[[Era], bool]


def _always(_era: Era) -> bool:
    return True


def _patches(era: Era) -> bool:
    return era.patches


def _pods(era: Era) -> bool:
    return era.has_instances


def _callbacks(era: Era) -> bool:
    return era.has_callbacks


def _route(
    methods: str, path: str, handler: Handler, exists: Callable[[Era], bool] = _always
) -> tuple[Route, ...]:
    return tuple(Route(m, re.compile(path), handler, exists) for m in methods.split())


# The first that fits: an app's sub-resources come before the app itself, as an
# app id may hold any number of slashes.
ROUTES: tuple[Route, ...] = (
    *_route("GET", r"/v2/apps/?", apps.list_apps),
    *_route("POST", r"/v2/apps/?", apps.create_app),
    *_route("PUT", r"/v2/apps/?", apps.put_apps),
    *_route("PATCH", r"/v2/apps/?", apps.put_apps, _patches),
    *_route("GET", rf"/v2/apps{ID}/versions", apps.list_versions),
    *_route("GET", rf"/v2/apps{ID}/versions/([^/]+)", apps.get_version),
    *_route("GET", rf"/v2/apps{ID}/tasks", apps.list_app_tasks),
    *_route("DELETE", rf"/v2/apps{ID}/tasks", apps.kill_app_tasks),
    *_route("DELETE", rf"/v2/apps{ID}/tasks/([^/]+)", apps.kill_app_task),
    *_route("POST", rf"/v2/apps{ID}/restart", apps.restart_app),
    *_route("GET", rf"/v2/apps{ID}", apps.get_app),
    *_route("PUT", rf"/v2/apps{ID}", apps.put_app),
    *_route("PATCH", rf"/v2/apps{ID}", apps.put_app, _patches),
    *_route("DELETE", rf"/v2/apps{ID}", apps.delete_app),
    *_route("GET", r"/v2/pods/?", pods.list_pods, _pods),
    *_route("POST", r"/v2/pods/?", pods.create_pod, _pods),
    *_route("GET", r"/v2/pods/?::status", pods.list_status, _pods),
    *_route("GET", rf"/v2/pods{ID}::status", pods.get_status, _pods),
    *_route("GET", rf"/v2/pods{ID}::versions", pods.list_versions, _pods),
    *_route("GET", rf"/v2/pods{ID}::versions/([^/]+)", pods.get_version, _pods),
    *_route("DELETE", rf"/v2/pods{ID}::instances", pods.kill_instances, _pods),
    *_route("DELETE", rf"/v2/pods{ID}::instances/([^/]+)", pods.kill_instance, _pods),
    *_route("GET", rf"/v2/pods{ID}", pods.get_pod, _pods),
    *_route("PUT", rf"/v2/pods{ID}", pods.put_pod, _pods),
    *_route("DELETE", rf"/v2/pods{ID}", pods.delete_pod, _pods),
    *_route("GET", r"/v2/eventSubscriptions", subscriptions.list_callbacks, _callbacks),
    *_route("POST", r"/v2/eventSubscriptions", subscriptions.add_callback, _callbacks),
    *_route("DELETE", r"/v2/eventSubscriptions", subscriptions.remove_callback, _callbacks),
    *_route("GET", r"/v2/tasks/?", system.list_tasks),
    *_route("POST", r"/v2/tasks/delete", system.kill_listed_tasks),
    *_route("GET", r"/v2/groups(/.*?)?/apps", groups.list_group_apps),
    *_route("GET", r"/v2/groups(/.*?)?", groups.get_group),
    *_route("POST", r"/v2/groups(/.*?)?", groups.create_group),
    *_route("PUT", r"/v2/groups(/.*?)?", groups.put_group),
    *_route("DELETE", r"/v2/groups(/.*?)?", groups.delete_group),
    *_route("GET", r"/v2/deployments/?", system.list_deployments),
    *_route("DELETE", r"/v2/deployments/([^/]+)", system.cancel_deployment),
    *_route("GET", r"/v2/queue/?", system.list_queue),
    *_route("DELETE", rf"/v2/queue{ID}/delay", system.reset_delay),
    *_route("GET", r"/slaves", system.list_agents),
)


def find_route(request: Request, era: Era) -> Callable[[Cluster, float], Reply]:
    """What to ask the cluster; raises for an unknown path or method."""
    known = False
    for route in ROUTES:
        match = route.path.fullmatch(request.path)
        if match is None or not route.exists(era):
            continue
        known = True
        if route.method == request.method or (route.method == "GET" and request.method == "HEAD"):
            words = [word or "/" for word in match.groups()]
            return lambda cluster, now: route.handler(cluster, now, request, *words)
    if known:
        raise MethodNotAllowed
    raise ApiError(404, {"message": "HTTP 404 Not Found"})
