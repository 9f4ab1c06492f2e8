"""The network of an app since 1.5: `networks`, and what became of older forms."""

from __future__ import annotations

import re

from demo.marathon.definitions.ip_address import parse_ip_address
from demo.marathon.definitions.ports import parse_port_definitions
from demo.marathon.era import Era
from demo.marathon.errors import invalid_object, wrong_type
from demo.mesos.records import Json

NETWORK_NAME = re.compile(r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?")
LONGEST_NAME = 63
MAPPING_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
#: A network of this name is the bridge of Mesos' own containers.
BRIDGE_NAME = "mesos-bridge"
HOST, BRIDGE, CONTAINER = "host", "container/bridge", "container"


def with_networks(app: Json, era: Era, default_network: str | None) -> Json:
    """The definition as a Marathon from 1.5 on keeps it."""
    ports = app.pop("ports", None)
    container, networks, mappings = _translated(app, era, default_network)
    app.pop("ipAddress", None)
    app["networks"] = parse_networks(networks, default_network)
    if app["networks"][0]["mode"] == HOST:
        if container is not None:
            container.pop("portMappings", None)
            app["container"] = container
        app["portDefinitions"] = parse_port_definitions(app.get("portDefinitions"), ports)
        return app
    if app.get("portDefinitions") or ports:
        raise invalid_object(
            "/portDefinitions", "must be empty: use container.portMappings for container networks"
        )
    app.pop("portDefinitions", None)
    container = {"type": "MESOS", "volumes": [], **(container or {})}
    container["portMappings"] = _mappings(mappings, app["networks"])
    app["container"] = container
    return app


def parse_networks(raw: list[Json], default_network: str | None) -> list[Json]:
    """Networks of one mode, each with what its mode knows."""
    if not raw:
        raw = [{"mode": HOST}]
    networks = []
    for index, network in enumerate(raw):
        path = f"/networks({index})"
        if not isinstance(network, dict):
            raise wrong_type(path[1:], "jsobject")
        mode = network.get("mode", CONTAINER)
        if mode not in (HOST, CONTAINER, BRIDGE):
            raise invalid_object(f"{path}/mode", f"unknown network mode {mode!r}")
        name = network.get("name")
        entry: Json = {"mode": mode}
        if mode == CONTAINER:
            entry["name"] = name = name or default_network
            if name is None:
                raise invalid_object(f"{path}/name", "container network requires a name")
            if not isinstance(name, str) or not NETWORK_NAME.fullmatch(name):
                raise invalid_object(f"{path}/name", f"must match {NETWORK_NAME.pattern}")
            if len(name) > LONGEST_NAME:
                raise invalid_object(f"{path}/name", f"has more than {LONGEST_NAME} characters")
        elif name is not None:
            raise invalid_object(f"{path}/name", f"{mode} network must not have a name")
        if mode != HOST:
            entry["labels"] = network.get("labels") or {}
        networks.append(entry)
    modes = {network["mode"] for network in networks}
    if len(modes) > 1 or (len(networks) > 1 and modes != {CONTAINER}):
        raise invalid_object(
            "/networks",
            "Must have a single host network, a single bridge network, or only container networks",
        )
    names = [network["name"] for network in networks if "name" in network]
    if len(set(names)) < len(names):
        raise invalid_object("/networks", "network names must be unique")
    return networks


def _translated(
    app: Json, era: Era, default_network: str | None
) -> tuple[Json | None, list[Json], list[Json] | None]:
    """Container, networks and mappings, whichever form they were sent in."""
    address, networks = app["ipAddress"], app.get("networks")
    container = dict(app["container"]) if app["container"] is not None else None
    docker = dict((container or {}).get("docker") or {})
    kind, old_mappings = docker.pop("network", None), docker.pop("portMappings", None)
    if container is not None and "docker" in container:
        container["docker"] = docker
    mappings = (container or {}).get("portMappings")
    if mappings is None:
        mappings = old_mappings
    if address is None and kind is None:
        return container, networks or [], mappings
    if networks is not None:
        raise invalid_object("/networks", "must not specify both networks and ipAddress")
    if address is None:
        return container, [_of_docker(kind, None, {})], mappings
    # Groups are accepted and lost, as by every Marathon from 1.5 on.
    parsed = parse_ip_address(address, era)
    network = _of_docker(kind, parsed.get("networkName"), parsed["labels"])
    if network["mode"] == CONTAINER and network.get("name") == BRIDGE_NAME:
        network = {"mode": BRIDGE, "labels": parsed["labels"]}
    declared = parsed["discovery"]["ports"]
    if declared and ((container or {}).get("type") == "DOCKER" or docker):
        raise invalid_object("/ipAddress/discovery", "not allowed with a Docker container")
    if declared and mappings:
        raise invalid_object("/container/portMappings", "must not be given with discovery ports")
    if declared:
        mappings = [
            {
                "containerPort": port["number"],
                "name": port["name"],
                "protocol": port["protocol"],
                "labels": port["labels"],
            }
            for port in declared
        ]
    if network["mode"] == CONTAINER and network.get("name") is None:
        network["name"] = default_network
    return container, [network], mappings


def _of_docker(kind: str | None, name: str | None, labels: Json) -> Json:
    match kind:
        case "HOST":
            return {"mode": HOST}
        case "BRIDGE":
            return {"mode": BRIDGE, "labels": labels}
        case None | "USER":
            return {"mode": CONTAINER, "name": name, "labels": labels}
        case _:
            raise invalid_object("/container/docker/network", f"unsupported network {kind!r}")


def _mappings(raw: list[Json] | None, networks: list[Json]) -> list[Json]:
    if raw is None:
        raw = [{"containerPort": 0, "name": "default"}]
    mappings = [_mapping(mapping, index, networks) for index, mapping in enumerate(raw)]
    names = [mapping["name"] for mapping in mappings if "name" in mapping]
    if len(set(names)) < len(names):
        raise invalid_object("/container/portMappings", "Port names are not unique.")
    return mappings


def _mapping(raw: object, index: int, networks: list[Json]) -> Json:
    path = f"/container/portMappings({index})"
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    mapping: Json = {
        "containerPort": _number(raw, "containerPort", path) or 0,
        "protocol": raw.get("protocol") or "tcp",
        "labels": raw.get("labels") or {},
        "servicePort": raw.get("servicePort") or 0,
    }
    if mapping["protocol"] not in ("tcp", "udp", "udp,tcp"):
        raise invalid_object(f"{path}/protocol", "must be tcp, udp or udp,tcp")
    if raw.get("name") is not None:
        if not MAPPING_NAME.fullmatch(raw["name"]):
            raise invalid_object(f"{path}/name", f"must match {MAPPING_NAME.pattern}")
        mapping["name"] = raw["name"]
    host_port = _number(raw, "hostPort", path)
    if host_port is None and networks[0]["mode"] == BRIDGE:
        host_port = 0
    if host_port is not None:
        mapping["hostPort"] = host_port
    chosen = raw.get("networkNames") or []
    known = {network.get("name") for network in networks}
    for name in chosen:
        if name not in known:
            raise invalid_object(f"{path}/networkNames", f"there is no network {name!r}")
    if host_port is not None and len(networks) > 1 and len(chosen) != 1:
        raise invalid_object(
            f"{path}/networkNames", "exactly one network is needed where hostPort is given"
        )
    if chosen:
        mapping["networkNames"] = list(chosen)
    return mapping


def _number(raw: Json, field: str, path: str) -> int | None:
    number = raw.get(field)
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise wrong_type(f"{path[1:]}/{field}", "jsnumber")
    if number is not None and not 0 <= number <= 65535:
        raise invalid_object(f"{path}/{field}", "must be within 0 and 65535")
    return number
