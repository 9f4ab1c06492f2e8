"""Pods: several containers that share one network, since 1.4."""

from __future__ import annotations

import re
from dataclasses import dataclass

from demo.marathon.definitions.networks import parse_networks
from demo.marathon.errors import invalid_json, invalid_object, wrong_type
from demo.mesos.records import Json

CONTAINER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_CHECK_NUMBERS = {
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "maxConsecutiveFailures": 3,
    "timeoutSeconds": 20,
    "delaySeconds": 15,
}


def is_pod(definition: Json) -> bool:
    """True if the definition is a pod's."""
    return "containers" in definition


def instances_of(definition: Json) -> int:
    """How many instances are wanted of an app or a pod."""
    number: int = (
        definition["scaling"]["instances"] if is_pod(definition) else definition["instances"]
    )
    return number


def with_instances(definition: Json, number: int) -> Json:
    """The same with another number of instances."""
    if is_pod(definition):
        return {**definition, "scaling": {**definition["scaling"], "instances": number}}
    return {**definition, "instances": number}


def strategy_of(definition: Json) -> Json:
    """The upgrade strategy of an app or a pod."""
    found: Json = (
        definition["scheduling"]["upgrade"] if is_pod(definition) else definition["upgradeStrategy"]
    )
    return found


def constraints_of(definition: Json) -> list[list[str]]:
    """The placement constraints of an app or a pod, in the form of apps."""
    if not is_pod(definition):
        constraints: list[list[str]] = definition["constraints"]
        return constraints
    return [
        [item["fieldName"], item["operator"], *([item["value"]] if "value" in item else [])]
        for item in definition["scheduling"]["placement"]["constraints"]
    ]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long an app waits after a failure, by how much more after the next, and at most."""

    first: float
    factor: float
    longest: float


def backoff_of(definition: Json) -> Backoff:
    """How an app or a pod wants to be held back when it fails."""
    if is_pod(definition):
        backoff = definition["scheduling"]["backoff"]
        found = (backoff["backoff"], backoff["backoffFactor"], backoff["maxLaunchDelay"])
    else:
        fields = ("backoffSeconds", "backoffFactor", "maxLaunchDelaySeconds")
        found = tuple(definition[field] for field in fields)
    first, factor, longest = map(float, found)
    return Backoff(first, factor, longest)


def commands_of(definition: Json) -> list[Json]:
    """What is to be executed, as `cmd` or `args`, one for each task."""
    if not is_pod(definition):
        return [definition]
    commands = []
    for container in definition["containers"]:
        command = (container.get("exec") or {}).get("command") or {}
        commands.append({"cmd": command.get("shell"), "args": command.get("argv")})
    return commands


def check_commands_of(definition: Json) -> list[Json]:
    """What health checks execute, likewise."""
    if not is_pod(definition):
        return [
            {"cmd": check["command"]["value"], "args": None}
            for check in definition["healthChecks"]
            if check["protocol"] == "COMMAND"
        ]
    commands = []
    for container in definition["containers"]:
        command = ((container.get("healthCheck") or {}).get("exec") or {}).get("command")
        if command is not None:
            commands.append({"cmd": command.get("shell"), "args": command.get("argv")})
    return commands


def endpoint_requests(definition: Json) -> list[Json]:
    """The endpoints of a pod that take one of the host's ports, in order."""
    return [
        {"port": endpoint["hostPort"], "name": endpoint["name"]}
        for container in definition["containers"]
        for endpoint in container["endpoints"]
        if endpoint.get("hostPort") is not None
    ]


def parse_pod(raw: object, app_id: str, default_network: str | None) -> Json:
    """A whole definition of a pod, defaults filled in."""
    if not isinstance(raw, dict):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
    for field, types, expected in (
        ("containers", list, "jsarray"),
        ("networks", list, "jsarray"),
        ("labels", dict, "jsobject"),
        ("environment", dict, "jsobject"),
        ("scaling", dict, "jsobject"),
        ("scheduling", dict, "jsobject"),
        ("executorResources", dict, "jsobject"),
        ("volumes", list, "jsarray"),
    ):
        if raw.get(field) is not None and not isinstance(raw[field], types):
            raise wrong_type(field, expected)
    networks = parse_networks(raw.get("networks") or [], default_network)
    containers = [
        _container(container, index, networks)
        for index, container in enumerate(raw.get("containers") or [])
    ]
    if not containers:
        raise invalid_object("/containers", "must not be empty")
    names = [container["name"] for container in containers]
    endpoints = [each["name"] for container in containers for each in container["endpoints"]]
    if len(set(names)) < len(names):
        raise invalid_object("/containers", "container names are not unique")
    if len(set(endpoints)) < len(endpoints):
        raise invalid_object("/containers", "endpoint names are not unique")
    pod: Json = {
        "id": app_id,
        "labels": raw.get("labels") or {},
        "environment": raw.get("environment") or {},
        "containers": containers,
        "secrets": raw.get("secrets") or {},
        "volumes": raw.get("volumes") or [],
        "networks": networks,
        "scaling": _scaling(raw.get("scaling") or {}),
        "scheduling": _scheduling(raw.get("scheduling") or {}),
        "executorResources": {
            "cpus": 0.1,
            "mem": 32,
            "disk": 10,
            **(raw.get("executorResources") or {}),
        },
    }
    if raw.get("user") is not None:
        pod["user"] = raw["user"]
    return pod


def _scaling(raw: Json) -> Json:
    scaling: Json = {"kind": "fixed", "instances": 1, **raw}
    if not isinstance(scaling["instances"], int) or scaling["instances"] < 0:
        raise invalid_object("/scaling/instances", "must be 0 or more")
    return scaling


def _scheduling(raw: Json) -> Json:
    placement = raw.get("placement") or {}
    return {
        "backoff": {
            "backoff": 1,
            "backoffFactor": 1.15,
            "maxLaunchDelay": 3600,
            **(raw.get("backoff") or {}),
        },
        "upgrade": {
            "minimumHealthCapacity": 1,
            "maximumOverCapacity": 1,
            **(raw.get("upgrade") or {}),
        },
        "placement": {
            "constraints": placement.get("constraints") or [],
            "acceptedResourceRoles": placement.get("acceptedResourceRoles") or [],
        },
    }


def _container(raw: object, index: int, networks: list[Json]) -> Json:
    path = f"/containers({index})"
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    name = raw.get("name")
    if not isinstance(name, str) or not CONTAINER_NAME.fullmatch(name):
        raise invalid_object(f"{path}/name", f"must match {CONTAINER_NAME.pattern}")
    container: Json = {
        **raw,
        "resources": {"cpus": 0.1, "mem": 32, "disk": 0, "gpus": 0, **(raw.get("resources") or {})},
        "endpoints": [
            _endpoint(endpoint, f"{path}/endpoints({at})", networks)
            for at, endpoint in enumerate(raw.get("endpoints") or [])
        ],
        "environment": raw.get("environment") or {},
        "labels": raw.get("labels") or {},
        "volumeMounts": raw.get("volumeMounts") or [],
        "artifacts": raw.get("artifacts") or [],
    }
    if raw.get("healthCheck") is not None:
        container["healthCheck"] = _check(raw["healthCheck"], container, f"{path}/healthCheck")
    return container


def _endpoint(raw: object, path: str, networks: list[Json]) -> Json:
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    if not isinstance(raw.get("name"), str) or not CONTAINER_NAME.fullmatch(raw["name"]):
        raise invalid_object(f"{path}/name", f"must match {CONTAINER_NAME.pattern}")
    endpoint: Json = {
        "name": raw["name"],
        "protocol": raw.get("protocol") or ["tcp"],
        "labels": raw.get("labels") or {},
        "networkNames": raw.get("networkNames") or [],
    }
    if not isinstance(endpoint["protocol"], list):
        raise wrong_type(f"{path[1:]}/protocol", "jsarray")
    for field in ("containerPort", "hostPort"):
        if raw.get(field) is not None:
            if not isinstance(raw[field], int) or not 0 <= raw[field] <= 65535:
                raise invalid_object(f"{path}/{field}", "must be within 0 and 65535")
            endpoint[field] = raw[field]
    own = networks[0]["mode"] != "host"
    if own and "containerPort" not in endpoint:
        raise invalid_object(f"{path}/containerPort", "is required with container networks")
    if not own and "hostPort" not in endpoint:
        raise invalid_object(f"{path}/hostPort", "is required with the host's network")
    if "hostPort" in endpoint and len(networks) > 1 and len(endpoint["networkNames"]) != 1:
        raise invalid_object(f"{path}/networkNames", "exactly one network is needed")
    return endpoint


def _check(raw: object, container: Json, path: str) -> Json:
    if not isinstance(raw, dict):
        raise wrong_type(path[1:], "jsobject")
    kinds = [kind for kind in ("http", "tcp", "exec") if raw.get(kind) is not None]
    if len(kinds) != 1:
        raise invalid_object(path, "Only one of http, tcp, or command may be specified")
    check = {**_CHECK_NUMBERS, **raw}
    if kinds != ["exec"]:
        named = raw[kinds[0]].get("endpoint")
        if named not in {endpoint["name"] for endpoint in container["endpoints"]}:
            raise invalid_object(f"{path}/{kinds[0]}/endpoint", f"there is no endpoint {named!r}")
    return check
