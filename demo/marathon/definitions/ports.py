"""Numbers that Marathon hands out: service ports of apps, host ports of tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from demo.marathon.core.environment import requested_ports
from demo.marathon.core.state import App
from demo.mesos.records import Json

FIRST_HOST_PORT, LAST_HOST_PORT = 31000, 32000


def with_service_ports(definition: Json, present: App | None, fresh: Iterator[int]) -> Json:
    """The definition with a number for each service port that asked for any.

    An app keeps the numbers it has, so that sending the same body again is no
    change.
    """
    held = list(_service_ports(present.definition)) if present is not None else []
    completed = dict(definition)
    if definition.get("portDefinitions") is not None:
        completed["portDefinitions"] = _filled(definition["portDefinitions"], "port", held, fresh)
        if "ports" in definition:
            completed["ports"] = [entry["port"] for entry in completed["portDefinitions"]]
    mappings = (definition.get("container") or {}).get("portMappings")
    if mappings is not None:
        filled = _filled(mappings, "servicePort", held, fresh)
        completed["container"] = {**definition["container"], "portMappings": filled}
    return completed


def host_ports(definition: Json, taken: Collection[int], start: int) -> tuple[int, ...] | None:
    """The task's ports on its host; None if a required one is taken there."""
    free = _free_ports(taken, start)
    ports: list[int] = []
    for request in requested_ports(definition):
        if request["port"] in taken:
            return None
        ports.append(request["port"] or next(port for port in free if port not in ports))
    return tuple(ports)


def _free_ports(taken: Collection[int], start: int) -> Iterator[int]:
    span = LAST_HOST_PORT - FIRST_HOST_PORT + 1
    for offset in range(span):
        port = FIRST_HOST_PORT + (start + offset) % span
        if port not in taken:
            yield port


def _service_ports(definition: Json) -> Iterator[int]:
    for entry in definition.get("portDefinitions") or []:
        yield entry["port"]
    for entry in (definition.get("container") or {}).get("portMappings") or []:
        yield entry.get("servicePort", 0)


def _filled(entries: list[Json], key: str, held: list[int], fresh: Iterator[int]) -> list[Json]:
    filled = []
    for index, entry in enumerate(entries):
        number = entry.get(key) or (held[index] if index < len(held) else 0) or next(fresh)
        filled.append({**entry, key: number})
    return filled
