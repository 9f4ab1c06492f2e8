"""One app in the form of each era of Marathon, as its user would have written it then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demo.embedded.processes import PROJECT
from demo.marathon.era import Era

Json = Mapping[str, Any]

#: The container network that is the product's own, unless its controller is told others.
NETWORK = "calico"


APPS = PROJECT / "demo" / "apps"


def read_group(name: str) -> Json:
    """A group of the demo's apps, written with `ipAddress`: star-before, star or star-iso."""
    group: Json = json.loads((APPS / f"{name}.json").read_text())
    return group


def group_in_era(group: Json, era: Era) -> Json:
    """A group whose apps are written with `ipAddress`, in the form of an era."""
    return {**group, "apps": [in_era(app, era) for app in group["apps"]]}


def in_era(app: Json, era: Era) -> Json:
    """An app, or a change of one, written with `ipAddress`, in the form of an era.

    From 1.5 on the network has a name, its groups are a label of it, and its
    discovery ports are mappings without a port of the host.
    """
    address = app.get("ipAddress")
    if address is None or not era.uses_networks:
        return app
    labels = {**address.get("labels", {}), "groups": ",".join(address.get("groups", ()))}
    network = {"mode": "container", "name": NETWORK, "labels": labels}
    mappings = [
        {
            "containerPort": port["number"],
            "name": port["name"],
            "protocol": port["protocol"],
            "labels": port.get("labels", {}),
        }
        for port in address.get("discovery", {}).get("ports", ())
    ]
    rest = {key: value for key, value in app.items() if key != "ipAddress"}
    return {**rest, "networks": [network], "container": {"portMappings": mappings}}
