"""Which handler answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from demo.marathon.api import apps, groups, system
from demo.marathon.api.request import Reply, Request
from demo.marathon.core.cluster import Cluster
from demo.marathon.errors import ApiError

Handler = Callable[..., Reply]
READS = frozenset({"GET", "HEAD"})
ID = r"(/.*?)"


class MethodNotAllowed(Exception):
    """The path is known, the method is not one of its own."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method, the whole path as a pattern, and who answers."""

    method: str
    path: re.Pattern[str]
    handler: Handler


def _route(methods: str, path: str, handler: Handler) -> tuple[Route, ...]:
    return tuple(Route(m, re.compile(path), handler) for m in methods.split())


# The first that fits: an app's sub-resources come before the app itself, as an
# app id may hold any number of slashes.
ROUTES: tuple[Route, ...] = (
    *_route("GET", r"/v2/apps/?", apps.list_apps),
    *_route("POST", r"/v2/apps/?", apps.create_app),
    *_route("PUT PATCH", r"/v2/apps/?", apps.put_apps),
    *_route("GET", rf"/v2/apps{ID}/versions", apps.list_versions),
    *_route("GET", rf"/v2/apps{ID}/versions/([^/]+)", apps.get_version),
    *_route("GET", rf"/v2/apps{ID}/tasks", apps.list_app_tasks),
    *_route("DELETE", rf"/v2/apps{ID}/tasks", apps.kill_app_tasks),
    *_route("DELETE", rf"/v2/apps{ID}/tasks/([^/]+)", apps.kill_app_task),
    *_route("POST", rf"/v2/apps{ID}/restart", apps.restart_app),
    *_route("GET", rf"/v2/apps{ID}", apps.get_app),
    *_route("PUT PATCH", rf"/v2/apps{ID}", apps.put_app),
    *_route("DELETE", rf"/v2/apps{ID}", apps.delete_app),
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


def find_route(request: Request) -> Callable[[Cluster, float], Reply]:
    """What to ask the cluster; raises for an unknown path or method."""
    known = False
    for route in ROUTES:
        match = route.path.fullmatch(request.path)
        if match is None:
            continue
        known = True
        if route.method == request.method or (route.method == "GET" and request.method == "HEAD"):
            words = [word or "/" for word in match.groups()]
            return lambda cluster, now: route.handler(cluster, now, request, *words)
    if known:
        raise MethodNotAllowed
    raise ApiError(404, {"message": "HTTP 404 Not Found"})
