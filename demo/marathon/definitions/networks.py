"""The two forms of an app's network: `ipAddress` up to 1.4, `networks` since."""

from __future__ import annotations

import re

from demo.marathon.errors import invalid_json, invalid_object, wrong_type
from demo.mesos.records import Json

PORT_NAME = re.compile(r"[a-z0-9-]+")
NETWORK_NAME = re.compile(r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?")
MAPPING_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NEWER_ONLY = ("networks",)
OLDER_ONLY = ("uris", "storeUrls", "ipAddress", "ports")


def with_ip_address(app: Json) -> Json:
    """The definition as a Marathon up to 1.4 keeps it."""
    for field in NEWER_ONLY:
        del app[field]
    if app["ipAddress"] is not None:
        if app["ports"] or app["portDefinitions"]:
            raise invalid_json("You cannot specify both an IP address and ports")
        del app["ports"], app["portDefinitions"]
        app["ipAddress"] = _ip_address(app["ipAddress"])
        return app
    app["portDefinitions"] = _port_definitions(app)
    app["ports"] = [definition["port"] for definition in app["portDefinitions"]]
    return app


def _ip_address(raw: Json) -> Json:
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
        "discovery": {"ports": _discovery_ports((discovery or {}).get("ports") or [])},
    }
    if raw.get("networkName") is not None:
        address["networkName"] = raw["networkName"]
    return address


def _discovery_ports(raw: object) -> list[Json]:
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
        if not PORT_NAME.fullmatch(port["name"]):
            raise invalid_object(
                f"{path}({index})/name", f"Port name must fully match {PORT_NAME.pattern}"
            )
        # The number is not checked here: the parser takes any integer.
        labels = port.get("labels") or {}
        ports.append(
            {key: port[key] for key in ("number", "name", "protocol")} | {"labels": labels}
        )
    names = [port["name"] for port in ports]
    pairs = [(port["number"], port["protocol"]) for port in ports]
    if len(set(names)) < len(names):
        raise invalid_object(path, "Port names are not unique.")
    if len(set(pairs)) < len(pairs):
        raise invalid_object(
            path, "There may be only one port with a particular port number/protocol combination."
        )
    return ports


def _port_definitions(app: Json) -> list[Json]:
    raw = app["portDefinitions"]
    if raw is None and app["ports"] is not None:
        raw = [{"port": port} for port in app["ports"]]
    if raw is None:
        raw = [{"port": 0, "name": "default"}]
    definitions = []
    for definition in raw:
        if not isinstance(definition, dict) or not isinstance(definition.get("port", 0), int):
            raise wrong_type("portDefinitions", "jsarray")
        if not 0 <= definition.get("port", 0) <= 65535:
            raise invalid_object("/portDefinitions", "port must be within 0 and 65535")
        entry: Json = {
            "port": definition.get("port", 0),
            "protocol": definition.get("protocol", "tcp"),
            "labels": definition.get("labels") or {},
        }
        if definition.get("name") is not None:
            entry["name"] = definition["name"]
        definitions.append(entry)
    return definitions


def with_networks(app: Json) -> Json:
    """The definition as a Marathon from 1.5 on keeps it."""
    address, networks, ports = app["ipAddress"], app["networks"], app["ports"]
    for field in OLDER_ONLY:
        del app[field]
    if address is not None and networks is not None:
        raise invalid_object("/networks", "must not specify both networks and ipAddress")
    mappings = None
    if address is not None:
        # Groups are accepted and lost, as by every Marathon from 1.5 on.
        parsed = _ip_address(address)
        if "networkName" not in parsed:
            raise invalid_object("/networks", "networkName must be specified")
        networks = [
            {"mode": "container", "name": parsed["networkName"], "labels": parsed["labels"]}
        ]
        if parsed["discovery"]["ports"]:
            mappings = [
                {
                    "containerPort": port["number"],
                    "name": port["name"],
                    "protocol": port["protocol"],
                    "labels": port["labels"],
                }
                for port in parsed["discovery"]["ports"]
            ]
    app["networks"] = _networks(networks or [{"mode": "host"}])
    if app["networks"][0]["mode"] == "host":
        app["portDefinitions"] = _port_definitions({**app, "ports": ports})
        return app
    if app["portDefinitions"] or ports:
        raise invalid_object("/portDefinitions", "not allowed with container networking")
    del app["portDefinitions"]
    app["container"] = _container(app["container"], mappings)
    return app


def _networks(raw: list[Json]) -> list[Json]:
    networks = []
    for index, network in enumerate(raw):
        if not isinstance(network, dict):
            raise wrong_type(f"networks({index})", "jsobject")
        mode = network.get("mode", "container")
        if mode not in ("host", "container", "container/bridge"):
            raise invalid_object(f"/networks({index})/mode", f"unknown network mode {mode!r}")
        entry: Json = {"mode": mode}
        if mode == "container":
            name = network.get("name")
            if not isinstance(name, str) or not NETWORK_NAME.fullmatch(name) or len(name) > 63:
                raise invalid_object(f"/networks({index})/name", "networkName must be specified")
            entry["name"] = name
        if mode != "host":
            entry["labels"] = network.get("labels") or {}
        networks.append(entry)
    if len({network["mode"] for network in networks}) > 1 or (
        len(networks) > 1 and networks[0]["mode"] != "container"
    ):
        raise invalid_object("/networks", "network modes cannot be mixed")
    return networks


def _container(raw: Json | None, mappings: list[Json] | None) -> Json:
    container: Json = {"type": "MESOS", "volumes": [], **(raw or {})}
    if mappings is not None and container.get("portMappings"):
        raise invalid_object("/container/portMappings", "must not be given with discovery ports")
    given = mappings if mappings is not None else container.get("portMappings")
    if given is None:
        given = [{"containerPort": 0, "name": "default"}]
    container["portMappings"] = [_mapping(mapping, i) for i, mapping in enumerate(given)]
    return container


def _mapping(raw: object, index: int) -> Json:
    path = f"/container/portMappings({index})"
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    if not 0 <= raw.get("containerPort", 0) <= 65535:
        raise invalid_object(f"{path}/containerPort", "must be within 0 and 65535")
    mapping: Json = {
        "containerPort": raw.get("containerPort", 0),
        "protocol": raw.get("protocol", "tcp"),
        "labels": raw.get("labels") or {},
        "servicePort": raw.get("servicePort", 0),
    }
    if mapping["protocol"] not in ("tcp", "udp", "udp,tcp"):
        raise invalid_object(f"{path}/protocol", "must be tcp, udp or udp,tcp")
    if raw.get("name") is not None:
        if not MAPPING_NAME.fullmatch(raw["name"]):
            raise invalid_object(f"{path}/name", f"must match {MAPPING_NAME.pattern}")
        mapping["name"] = raw["name"]
    for field in ("hostPort", "networkNames"):
        if raw.get(field) is not None:
            mapping[field] = raw[field]
    return mapping
