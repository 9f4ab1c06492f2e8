"""A Marathon of any version over HTTP, with one host in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from demo.marathon import Era, MemoryAgent, StandIn
from demo.mesos.records import Json, LaunchOrder
from tests.contract.stand_in.stand_in_world import RawStream

SOON = 5.0

ERAS = [
    Era(0, 14),
    Era(0, 15),
    Era(1, 1),
    Era(1, 3),
    Era(1, 4),
    Era(1, 5),
    Era(1, 7),
    Era(1, 9),
]
ADDRESS = "192.168.40.17"


class Marathon:
    """One Marathon, its host and its API."""

    def __init__(self, stand_in: StandIn, agent: MemoryAgent, era: Era) -> None:
        self.stand_in = stand_in
        self.agent = agent
        self.era = era
        self.url = stand_in.url

    def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """The body of a reply that must have this status."""
        reply = self.answer(method, path, body)
        assert reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    def answer(self, method: str, path: str, body: object = None) -> requests.Response:
        """Any reply."""
        return requests.request(
            method, self.url + path, json=body, timeout=SOON, allow_redirects=False
        )

    def start(self, app: Json) -> Json:
        """Create an app; its first task as REST shows it, once the deployment is over."""
        with RawStream(self.url) as stream:
            self("POST", "/v2/apps", app, status=201)
            stream.event("deployment_success")
        tasks: list[Json] = self("GET", f"/v2/apps{app['id']}")["app"]["tasks"]
        return tasks[0]


def addressed(order: LaunchOrder) -> tuple[str, ...]:
    """Every task on a named network, or asked to be, gets one address."""
    return (ADDRESS,) if "unnamed" not in order.task_id else ()


@contextmanager
def marathon_of(
    era: Era,
    address_of: Callable[[LaunchOrder], tuple[str, ...]] = addressed,
    agent: MemoryAgent | None = None,
    **options: Any,
) -> Iterator[Marathon]:
    """A Marathon of this version."""
    agent = agent or MemoryAgent(address_of=address_of)
    with StandIn(agents={"host-1": agent}, era=era, **options) as stand_in:
        yield Marathon(stand_in, agent, era)


def app_of(era: Era, app_id: str = "/shop/web", groups: str = "web", **fields: object) -> Json:
    """An app on a network of its own with one port, in the form of an era."""
    app: Json = {"id": app_id, "cmd": "star-probe --port 9000", "cpus": 0.1, "mem": 64, **fields}
    if era.uses_networks:
        network = {"mode": "container", "name": "calico", "labels": {"groups": groups}}
        mapping = {"containerPort": 9000, "name": "status", "labels": {"tier": "front"}}
        return {**app, "networks": [network], "container": {"portMappings": [mapping]}}
    port = {"number": 9000, "name": "status", "protocol": "tcp", "labels": {"tier": "front"}}
    address: Json = {"groups": groups.split(","), "discovery": {"ports": [port]}}
    if era.names_networks:
        address["networkName"] = "calico"
    return {**app, "ipAddress": address}
