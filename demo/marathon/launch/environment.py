"""The environment that Marathon gives a task."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from demo.marathon.core.state import App, Task
from demo.marathon.definitions.ports import declared_ports, mappings_of
from demo.marathon.era import Era
from demo.marathon.launch.identity import executor_id
from demo.mesos.records import Json, TaskId

LABEL_LIMIT = 512


def task_environment(
    app: App, task: Task, era: Era, random_port: Callable[[], int]
) -> dict[str, str]:
    """Marathon's own variables over those of the app."""
    definition = app.definition
    env = _texts(definition["env"])
    env |= {
        "MESOS_TASK_ID": task.id,
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_APP_RESOURCE_CPUS": str(float(definition["cpus"])),
        "MARATHON_APP_RESOURCE_MEM": str(float(definition["mem"])),
        "MARATHON_APP_RESOURCE_DISK": str(float(definition["disk"])),
        "HOST": task.host,
    }
    if era.has_gpus:
        env["MARATHON_APP_RESOURCE_GPUS"] = str(definition["gpus"])
    image = ((definition.get("container") or {}).get("docker") or {}).get("image")
    if image:
        env["MARATHON_APP_DOCKER_IMAGE"] = image
    env |= _labels(definition["labels"])
    return env | _port_variables(definition, task.ports, random_port)


def pod_environment(app: App, task: Task, container: Json, task_id: TaskId) -> dict[str, str]:
    """Likewise for one container of a pod; it is told of the endpoints of all."""
    resources = container["resources"]
    env = _texts(app.definition["environment"]) | _texts(container["environment"])
    env |= {
        "MESOS_TASK_ID": task_id,
        "MESOS_EXECUTOR_ID": executor_id(task.id),
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_CONTAINER_ID": container["name"],
        "MARATHON_CONTAINER_RESOURCE_CPUS": str(float(resources["cpus"])),
        "MARATHON_CONTAINER_RESOURCE_MEM": str(float(resources["mem"])),
        "MARATHON_CONTAINER_RESOURCE_DISK": str(float(resources["disk"])),
        "MARATHON_CONTAINER_RESOURCE_GPUS": str(resources["gpus"]),
        "HOST": task.host,
    }
    env |= _labels(app.definition["labels"])
    allocated = iter(task.ports)
    for each in app.definition["containers"]:
        for endpoint in each["endpoints"]:
            name = _upper(endpoint["name"])
            host_port = next(allocated) if endpoint.get("hostPort") is not None else None
            own = endpoint.get("containerPort") or host_port
            if host_port is not None:
                env[f"EP_HOST_{name}"] = str(host_port)
            if "containerPort" in endpoint and own is not None:
                env[f"EP_CONTAINER_{name}"] = str(own)
            if own is not None:
                env[f"ENDPOINT_{name}"] = str(own)
    return env


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    # Secrets are objects; this stand-in has none to give.
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _labels(labels: Mapping[str, object]) -> dict[str, str]:
    env, names = {}, []
    for key, value in labels.items():
        if len(str(value)) <= LABEL_LIMIT:
            names.append(_upper(key))
            env[f"MARATHON_APP_LABEL_{_upper(key)}"] = str(value)
    return env | {"MARATHON_APP_LABELS": " ".join(names)}


def _port_variables(
    definition: Json, host_ports: Sequence[int], random_port: Callable[[], int]
) -> dict[str, str]:
    mappings = mappings_of(definition)
    entries = mappings
    if entries is None:
        entries = [] if definition.get("ipAddress") is not None else declared_ports(definition)
    allocated = iter(host_ports)
    env: dict[str, str] = {}
    numbers = []
    for index, entry in enumerate(entries):
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
            env[f"PORT_{_upper(entry['name'])}"] = str(number)
    if numbers:
        env |= {"PORT": numbers[0], "PORTS": ",".join(numbers)}
    return env


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())
