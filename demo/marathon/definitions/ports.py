"""Ports that an app declares, and the numbers that Marathon hands out for them.

Apps get service ports, tasks get ports of their host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from demo.marathon.errors import invalid_object, wrong_type
from demo.mesos.records import Json, PortRanges

FIRST_HOST_PORT, LAST_HOST_PORT = 31000, 32000


def parse_port_definitions(raw: object, ports: object) -> list[Json]:
    """The ports of an app on its host's network; one random port if none are given."""
    if raw is None and isinstance(ports, list):
        raw = [{"port": port} for port in ports]
    if raw is None:
        raw = [{"port": 0, "name": "default"}]
    if not isinstance(raw, list):
        raise wrong_type("portDefinitions", "jsarray")
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


def mappings_of(definition: Json) -> list[Json] | None:
    """The port mappings of an app's container, wherever its era keeps them."""
    container = definition.get("container") or {}
    mappings: list[Json] | None = container.get("portMappings")
    if mappings is None:
        mappings = (container.get("docker") or {}).get("portMappings")
    return mappings


def with_service_ports(definition: Json, present: Json | None, fresh: Iterator[int]) -> Json:
    """The definition with a number for each service port that asked for any.

    An app keeps the numbers it has, so that sending the same body again is no
    change.
    """
    held = list(_service_ports(present)) if present is not None else []
    completed = dict(definition)
    if definition.get("portDefinitions") is not None:
        completed["portDefinitions"] = _filled(definition["portDefinitions"], "port", held, fresh)
        if "ports" in definition:
            completed["ports"] = [entry["port"] for entry in completed["portDefinitions"]]
    elif mappings_of(definition) is None and definition.get("ports"):
        entries = [{"port": port} for port in definition["ports"]]
        completed["ports"] = [entry["port"] for entry in _filled(entries, "port", held, fresh)]
    container = definition.get("container") or {}
    if container.get("portMappings") is not None:
        filled = _filled(container["portMappings"], "servicePort", held, fresh)
        completed["container"] = {**container, "portMappings": filled}
    elif (docker := container.get("docker") or {}).get("portMappings") is not None:
        filled = _filled(docker["portMappings"], "servicePort", held, fresh)
        completed["container"] = {**container, "docker": {**docker, "portMappings": filled}}
        if "ports" in definition:
            completed["ports"] = [entry["servicePort"] for entry in filled]
    return completed


def requested_ports(definition: Json) -> list[Json]:
    """The ports of the definition that take one of the host's, in order.

    Each is `{"port": number or 0, "name": ...}`; 0 asks for any.
    """
    mappings = mappings_of(definition)
    if mappings is not None:
        return [
            {"port": mapping["hostPort"], "name": mapping.get("name")}
            for mapping in mappings
            if mapping.get("hostPort") is not None
        ]
    if definition.get("ipAddress") is not None:
        return []
    fixed = definition.get("requirePorts", False)
    return [
        {"port": entry["port"] if fixed else 0, "name": entry.get("name")}
        for entry in declared_ports(definition)
    ]


def declared_ports(definition: Json) -> list[Json]:
    """The ports of an app on its host's network."""
    if definition.get("portDefinitions") is not None:
        definitions: list[Json] = definition["portDefinitions"]
        return definitions
    return [{"port": port} for port in definition.get("ports") or []]


def host_ports(
    requests: Collection[Json], offered: PortRanges, taken: Collection[int], start: int
) -> tuple[int, ...] | None:
    """Ports of a host for these requests; None if one of them is not to be had there."""
    fixed = [request["port"] for request in requests if request["port"]]
    if len(set(fixed)) < len(fixed) or not all(
        _is_offered(port, offered) and port not in taken for port in fixed
    ):
        return None
    free = (port for port in _any_ports(start) if port not in taken and port not in fixed)
    usable = (port for port in free if _is_offered(port, offered))
    ports: list[int] = []
    for request in requests:
        port = request["port"] or next(usable, None)
        if port is None:
            return None
        ports.append(port)
    return tuple(ports)


def _any_ports(start: int) -> Iterator[int]:
    """Who asks for any port never gets one that others ask for by its number."""
    span = LAST_HOST_PORT - FIRST_HOST_PORT + 1
    return (FIRST_HOST_PORT + (start + offset) % span for offset in range(span))


def _is_offered(port: int, offered: PortRanges) -> bool:
    return any(first <= port <= last for first, last in offered)


def service_ports(definition: Json) -> list[int]:
    """The ports that a load balancer would serve the app on."""
    return [port for port in _service_ports(definition) if port]


def _service_ports(definition: Json) -> Iterator[int]:
    mappings = mappings_of(definition)
    if mappings is not None:
        for entry in mappings:
            yield entry.get("servicePort", 0)
        return
    for entry in declared_ports(definition):
        yield entry["port"]


def _filled(entries: list[Json], key: str, held: list[int], fresh: Iterator[int]) -> list[Json]:
    filled = []
    for index, entry in enumerate(entries):
        number = entry.get(key) or (held[index] if index < len(held) else 0) or next(fresh)
        filled.append({**entry, key: number})
    return filled
