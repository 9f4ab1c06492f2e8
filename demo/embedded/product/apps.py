"""Deploys the product on the cluster as an operator does: its charts, over Marathon's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charts.render import render_app
from demo.embedded.hosts import MASTER, HostPlan
from demo.embedded.processes import MARATHON_PORT, STATE_DIRECTORY, etcd_urls
from demo.embedded.product.names import CONTROLLERS
from demo.marathon.era import Era, parse_era
from demo.stories.rest import MarathonApi

#: Whoever watches a demo is to see soon what hangs, but a loaded laptop is slow.
HEALTH: Mapping[str, int] = {"grace": 30, "interval": 2, "timeout": 3, "failures": 4}
NAMES = ("controller", "agent")
START_SECONDS = 30.0


def deploy(
    marathon: MarathonApi, hosts: Sequence[HostPlan], arguments: Mapping[str, Sequence[str]]
) -> None:
    """PUT controller and agents as soon as Marathon answers.

    Raises MarathonRefusedError, or ValueError if an argument cannot be given so.
    """
    marathon.wait(START_SECONDS)
    for app in render_apps(hosts, parse_era(marathon.version()), arguments):
        marathon.put_app(app["id"], app)


def render_apps(
    hosts: Sequence[HostPlan], era: Era, arguments: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], ...]:
    """The apps as an operator of this cluster would render them from the charts."""
    master = next(str(plan.address) for plan in hosts if plan.name == MASTER)
    workers = len(hosts) - 1
    values = {
        "form": "networks" if era.uses_networks else "ipaddress",
        "etcd": list(etcd_urls(master)),
        "health": HEALTH,
        "controller": {
            # Each has its host's port to itself.
            "instances": min(CONTROLLERS, workers),
            "marathon": [f"http://{master}:{MARATHON_PORT}"],
            "arguments": list(arguments.get("controller", ())),
        },
        "agent": {
            "instances": workers,
            "state_dir": STATE_DIRECTORY,
            "arguments": list(arguments.get("agent", ())),
        },
    }
    return tuple(render_app(name, values) for name in NAMES)
