"""`/v2/eventSubscriptions`: URLs that are told of every event, up to 1.4."""

from __future__ import annotations

import urllib.parse

from demo.marathon.api.request import Reply, Request
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.state import timestamp
from demo.marathon.errors import bad_parameter
from demo.marathon.replies import events


def list_callbacks(cluster: Cluster, _now: float, _request: Request) -> Reply:
    """GET /v2/eventSubscriptions"""
    return Reply({"callbackUrls": list(cluster.state.callbacks)})


def add_callback(cluster: Cluster, now: float, request: Request) -> Reply:
    """POST /v2/eventSubscriptions?callbackUrl=URL"""
    url = _callback(request)
    if url not in cluster.state.callbacks:
        cluster.state.callbacks.append(url)
    event = events.subscription("subscribe_event", timestamp(now), request.client, url)
    cluster.tell(event)
    return Reply(event.body)


def remove_callback(cluster: Cluster, now: float, request: Request) -> Reply:
    """DELETE /v2/eventSubscriptions?callbackUrl=URL"""
    url = _callback(request)
    if url in cluster.state.callbacks:
        cluster.state.callbacks.remove(url)
    event = events.subscription("unsubscribe_event", timestamp(now), request.client, url)
    cluster.tell(event)
    return Reply(event.body)


def _callback(request: Request) -> str:
    url = request.value("callbackUrl")
    parts = urllib.parse.urlsplit(url or "")
    if url is None or parts.scheme != "http" or parts.hostname is None:
        raise bad_parameter(f"no http URL in callbackUrl: {url!r}")
    return url
