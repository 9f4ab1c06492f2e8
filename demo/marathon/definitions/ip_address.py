"""The network of an app up to 1.4: `ipAddress`, and `docker.network` beside it."""

from __future__ import annotations

import re

from demo.marathon.definitions.ports import parse_port_definitions
from demo.marathon.era import Era
from demo.marathon.errors import invalid_json, invalid_object, wrong_type
from demo.mesos.records import Json

PORT_NAME = re.compile(r"[a-z0-9-]+")


def with_ip_address(app: Json, era: Era, default_network: str | None) -> Json:
    """The definition as a Marathon up to 1.4 keeps it.

    `networks` is a field that it does not know, and what it does not know it
    passes over without a word: such an app runs on its host's network.
    """
    app.pop("networks", None)
    docker = _docker(app["container"], era)
    if docker is not None:
        app["container"] = {**app["container"], "docker": docker}
    if app["ipAddress"] is None:
        if docker is None or "portMappings" not in docker:
            _own_ports(app, era)
            return app
        app.pop("portDefinitions", None)
        app["ports"] = [mapping["servicePort"] for mapping in docker["portMappings"]]
        return app
    if app["ports"] or app.get("portDefinitions"):
        raise invalid_json("You cannot specify both an IP address and ports")
    app.pop("portDefinitions", None)
    # Before there were port definitions, an app without ports had none of them.
    app["ports"] = []
    if era.has_port_definitions:
        del app["ports"]
    if docker is not None and not era.since(0, 15):
        raise invalid_object("/container", "IP per task is not supported with Docker containers")
    app["ipAddress"] = parse_ip_address(app["ipAddress"], era)
    kind = None if docker is None else docker.get("network")
    if kind in ("BRIDGE", "USER") and app["ipAddress"]["discovery"]["ports"]:
        raise invalid_object(
            "/ipAddress/discovery", "not allowed with Docker's BRIDGE and USER networks"
        )
    if era.names_networks and default_network is not None and kind != "BRIDGE":
        app["ipAddress"].setdefault("networkName", default_network)
    return app


def parse_ip_address(raw: Json, era: Era) -> Json:
    """`ipAddress` with its defaults filled in; what the era does not know is left out."""
    for field, types, expected in (
        ("groups", list, "jsarray"),
        ("labels", dict, "jsobject"),
        ("discovery", dict, "jsobject"),
        ("networkName", str, "jsstring"),
    ):
        if raw.get(field) is not None and not isinstance(raw[field], types):
            raise wrong_type(f"ipAddress/{field}", expected)
    discovery = raw.get("discovery")
    if discovery is not None and "ports" not in discovery:
        raise invalid_json(
            [{"path": "/ipAddress/discovery/ports", "errors": ["error.path.missing"]}]
        )
    address: Json = {
        "groups": list(raw.get("groups") or []),
        "labels": dict(raw.get("labels") or {}),
        "discovery": {"ports": _discovery_ports((discovery or {}).get("ports") or [], era)},
    }
    if raw.get("networkName") is not None and era.names_networks:
        address["networkName"] = raw["networkName"]
    return address


def _discovery_ports(raw: object, era: Era) -> list[Json]:
    path = "/ipAddress/discovery/ports"
    if not isinstance(raw, list) or not all(isinstance(port, dict) for port in raw):
        raise wrong_type(path[1:], "jsarray")
    ports = []
    for index, port in enumerate(raw):
        for field, types in (("number", int), ("name", str), ("protocol", str)):
            if not isinstance(port.get(field), types):
                raise invalid_json(
                    [{"path": f"{path}({index})/{field}", "errors": ["error.path.missing"]}]
                )
        if port["protocol"] not in ("tcp", "udp"):
            raise invalid_json(
                "Invalid protocol. Only 'udp' or 'tcp' are allowed."
                if port["protocol"] != "udp,tcp"
                else "Invalid protocol 'udp,tcp'"
            )
        if era.labels_ports and not PORT_NAME.fullmatch(port["name"]):
            raise invalid_object(
                f"{path}({index})/name", f"Port name must fully match {PORT_NAME.pattern}"
            )
        # The number is not checked here: the parser takes any integer.
        entry = {key: port[key] for key in ("number", "name", "protocol")}
        if era.labels_ports:
            entry["labels"] = port.get("labels") or {}
        ports.append(entry)
    names = [port["name"] for port in ports]
    pairs = [(port["number"], port["protocol"]) for port in ports]
    if len(set(names)) < len(names):
        raise invalid_object(path, "Port names are not unique.")
    if len(set(pairs)) < len(pairs):
        raise invalid_object(
            path, "There may be only one port with a particular port number/protocol combination."
        )
    return ports


def _docker(container: Json | None, era: Era) -> Json | None:
    """The container's `docker`, its network known and its mappings complete."""
    docker = (container or {}).get("docker")
    if docker is None:
        return None
    known = ("HOST", "BRIDGE", "NONE", *(("USER",) if era.names_networks else ()))
    network = docker.get("network")
    if network is not None and network not in known:
        raise invalid_json(
            [{"path": "/container/docker/network", "errors": ["error.unknown.enum.literal"]}]
        )
    docker = dict(docker)
    if network not in ("BRIDGE", "USER"):
        docker.pop("portMappings", None)
        return docker
    mappings = docker.get("portMappings") or [{"containerPort": 0}]
    docker["portMappings"] = [_mapping(mapping, network, era) for mapping in mappings]
    return docker


def _mapping(raw: object, network: str, era: Era) -> Json:
    if not isinstance(raw, dict):
        raise wrong_type("container/docker/portMappings", "jsarray")
    mapping: Json = {
        "containerPort": raw.get("containerPort", 0),
        "servicePort": raw.get("servicePort", 0),
        "protocol": raw.get("protocol", "tcp"),
    }
    # On a bridge every mapping has a port of the host.
    host_port = raw.get("hostPort", 0 if network == "BRIDGE" else None)
    if host_port is not None:
        mapping["hostPort"] = host_port
    if era.labels_ports:
        mapping["labels"] = raw.get("labels") or {}
        if raw.get("name") is not None:
            mapping["name"] = raw["name"]
    return mapping


def _own_ports(app: Json, era: Era) -> None:
    definitions = parse_port_definitions(app.get("portDefinitions"), app["ports"])
    app["ports"] = [definition["port"] for definition in definitions]
    if era.has_port_definitions:
        app["portDefinitions"] = definitions
    else:
        app.pop("portDefinitions", None)
