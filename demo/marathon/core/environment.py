"""The environment and the ports that Marathon gives a task."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from demo.marathon.core.state import App, Task
from demo.marathon.definitions.commands import Program
from demo.mesos.records import Isolation, Json, LaunchOrder

LABEL_LIMIT = 512


def isolation_of(definition: Json) -> Isolation:
    """A namespace of its own for every app that is not on the host's network."""
    networks = definition.get("networks")
    if networks is not None:
        own = networks[0]["mode"] != "host"
    else:
        own = definition["ipAddress"] is not None
    return Isolation.NAMESPACE if own else Isolation.HOST


def requested_ports(definition: Json) -> list[Json]:
    """The ports of the definition that take one of the host's, in order.

    Each is `{"port": number or 0, "name": ...}`; 0 asks for any.
    """
    if definition.get("portDefinitions") is not None:
        fixed = definition["requirePorts"]
        return [
            {"port": entry["port"] if fixed else 0, "name": entry.get("name")}
            for entry in definition["portDefinitions"]
        ]
    mappings = (definition.get("container") or {}).get("portMappings") or []
    return [
        {"port": mapping["hostPort"], "name": mapping.get("name")}
        for mapping in mappings
        if mapping.get("hostPort") is not None
    ]


def task_environment(app: App, task: Task, random_port: Callable[[], int]) -> dict[str, str]:
    """Marathon's own variables over those of the app."""
    definition = app.definition
    env = {key: value for key, value in definition["env"].items() if isinstance(value, str)}
    env |= {
        "MESOS_TASK_ID": task.id,
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_APP_RESOURCE_CPUS": str(float(definition["cpus"])),
        "MARATHON_APP_RESOURCE_MEM": str(float(definition["mem"])),
        "MARATHON_APP_RESOURCE_DISK": str(float(definition["disk"])),
        "MARATHON_APP_RESOURCE_GPUS": str(definition["gpus"]),
        "HOST": task.host,
    }
    names = []
    for key, value in definition["labels"].items():
        name = re.sub(r"[^A-Z0-9_]", "_", key.upper())
        if len(str(value)) <= LABEL_LIMIT:
            names.append(name)
            env[f"MARATHON_APP_LABEL_{name}"] = str(value)
    env["MARATHON_APP_LABELS"] = " ".join(names)
    return env | _port_variables(definition, task.ports, random_port)


def _port_variables(
    definition: Json, host_ports: Sequence[int], random_port: Callable[[], int]
) -> dict[str, str]:
    mappings = (definition.get("container") or {}).get("portMappings")
    entries = definition.get("portDefinitions") if mappings is None else mappings
    allocated = iter(host_ports)
    env: dict[str, str] = {}
    numbers = []
    for index, entry in enumerate(entries or []):
        if mappings is None:
            requested, number = entry["port"], next(allocated)
        else:
            requested = entry["containerPort"]
            held = next(allocated) if entry.get("hostPort") is not None else None
            # containerPort 0 is the host's port, or one that only the app is told.
            number = requested or held or random_port()
        numbers.append(str(number))
        env[f"PORT{index}"] = str(number)
        if requested:
            env[f"PORT_{requested}"] = str(number)
        if entry.get("name"):
            env[f"PORT_{re.sub(r'[^A-Z0-9_]', '_', entry['name'].upper())}"] = str(number)
    if numbers:
        env |= {"PORT": numbers[0], "PORTS": ",".join(numbers)}
    return env


def render_order(
    app: App, task: Task, program: Program, framework_id: str, random_port: Callable[[], int]
) -> LaunchOrder:
    """What the host's agent is asked to start; `$NAME` in a word is filled in."""
    env = task_environment(app, task, random_port) | program.env
    isolation = isolation_of(app.definition)
    return LaunchOrder(
        task_id=task.id,
        framework_id=framework_id,
        argv=tuple(string.Template(word).safe_substitute(env) for word in program.argv),
        env=env,
        isolation=isolation,
        name=".".join(reversed(app.id.strip("/").split("/"))),
        networks=(_network_info(app.definition),) if isolation is Isolation.NAMESPACE else (),
    )


def _network_info(definition: Json) -> Json:
    """The task's NetworkInfo, as it would reach Mesos."""
    networks = definition.get("networks")
    source = networks[0] if networks is not None else definition["ipAddress"]
    info: Json = {
        "labels": {
            "labels": [{"key": key, "value": value} for key, value in source["labels"].items()]
        }
    }
    if source.get("groups"):
        info["groups"] = source["groups"]
    if name := source.get("name") or source.get("networkName"):
        info["name"] = name
    return info
