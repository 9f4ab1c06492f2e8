"""Health checks as an app declares them, and the port that each of them means."""

from __future__ import annotations

from collections.abc import Sequence

from demo.marathon.definitions.ports import declared_ports, mappings_of
from demo.marathon.era import Era
from demo.marathon.errors import invalid_json, invalid_object, wrong_type
from demo.mesos.records import Json

#: Marathon itself connects to the task.
BY_MARATHON = frozenset({"HTTP", "TCP"})
#: The executor does, from inside of the container.
BY_EXECUTOR = frozenset({"COMMAND", "MESOS_HTTP", "MESOS_TCP"})
#: Known to Marathon, not to this stand-in.
ENCRYPTED = frozenset({"HTTPS", "MESOS_HTTPS"})
NEWER = frozenset({"MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"})
_NUMBERS = {
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "timeoutSeconds": 20,
    "maxConsecutiveFailures": 3,
}


def parse_checks(raw: list[object], app: Json, era: Era) -> list[Json]:
    """The app's checks with their defaults; each with a port has one that exists."""
    return [_check(check, index, app, era) for index, check in enumerate(raw)]


def _check(raw: object, index: int, app: Json, era: Era) -> Json:
    path = f"/healthChecks({index})"
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    protocol = raw.get("protocol", "HTTP")
    known = BY_MARATHON | BY_EXECUTOR | ENCRYPTED
    if protocol not in known or (protocol in NEWER and not era.checks_from_executor):
        raise invalid_json([{"path": f"{path}/protocol", "errors": ["error.unknown.enum.literal"]}])
    if protocol in ENCRYPTED:
        raise invalid_object(f"{path}/protocol", f"this stand-in does no {protocol} checks")
    check: Json = {"protocol": protocol}
    for field, default in _NUMBERS.items():
        number = raw.get(field, default)
        if not isinstance(number, int | float) or isinstance(number, bool) or number < 0:
            raise wrong_type(f"{path[1:]}/{field}", "jsnumber")
        check[field] = number
    if era.checks_from_executor:
        check["delaySeconds"] = raw.get("delaySeconds", 15)
    if protocol == "COMMAND":
        command = raw.get("command")
        if not isinstance(command, dict) or not isinstance(command.get("value"), str):
            raise invalid_object(f"{path}/command", "a COMMAND check must have a command")
        return {**check, "command": {"value": command["value"]}}
    if protocol in ("HTTP", "MESOS_HTTP"):
        check["path"] = raw.get("path") or "/"
    if protocol == "HTTP":
        check["ignoreHttp1xx"] = bool(raw.get("ignoreHttp1xx", False))
    return check | _port(raw, path, app, era)


def _port(raw: Json, path: str, app: Json, era: Era) -> Json:
    port, port_index = raw.get("port"), raw.get("portIndex")
    if port is not None:
        if not isinstance(port, int) or not 1 <= port <= 65535:
            raise invalid_object(f"{path}/port", "must be within 1 and 65535")
        return {"port": port}
    port_index = 0 if port_index is None else port_index
    if not isinstance(port_index, int):
        raise wrong_type(f"{path[1:]}/portIndex", "jsnumber")
    if not 0 <= port_index < len(_indexed(app, era)):
        raise invalid_object(
            f"{path}/portIndex",
            "Health check port indices must address an element of the ports array or container "
            "port mappings.",
        )
    return {"portIndex": port_index}


def _indexed(app: Json, era: Era) -> Sequence[object]:
    """What a port index counts; before 1.3 not the ports of `ipAddress`."""
    if app.get("ipAddress") is not None and mappings_of(app) is None:
        ports: list[Json] = app["ipAddress"]["discovery"]["ports"]
        return ports if era.names_networks else ()
    mappings = mappings_of(app)
    return declared_ports(app) if mappings is None else mappings


def checked_port(
    definition: Json, check: Json, ports: Sequence[int], inside: bool = False
) -> int | None:
    """The number that a check connects to; None if the task has no such port.

    A container network is asked on the container's port, any other on the
    host's; whoever asks from `inside` of the container, always on its own.
    """
    if check.get("port") is not None:
        number: int = check["port"]
        return number
    index: int = check["portIndex"]
    mappings = mappings_of(definition)
    if definition.get("ipAddress") is not None and mappings is None:
        declared = definition["ipAddress"]["discovery"]["ports"]
        return declared[index]["number"] if index < len(declared) else None
    if mappings is None:
        return ports[index] if index < len(ports) else None
    if index >= len(mappings):
        return None
    with_host_port = [m for m in mappings if m.get("hostPort") is not None]
    mapping = mappings[index]
    held = next((ports[i] for i, m in enumerate(with_host_port) if m is mapping), None)
    if inside or has_own_address(definition):
        return mapping["containerPort"] or held
    return held


def has_own_address(definition: Json) -> bool:
    """True for an app on a container network, by Marathon's own order."""
    networks = definition.get("networks")
    if networks is not None:
        return bool(networks[0]["mode"] == "container")
    kind = ((definition.get("container") or {}).get("docker") or {}).get("network")
    if kind not in (None, "NONE"):
        return bool(kind == "USER")
    return definition.get("ipAddress") is not None
