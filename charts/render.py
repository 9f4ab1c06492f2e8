"""From values and a template to a Marathon app, checked before it is given away."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import chevron
from jsonschema import Draft4Validator

from charts.values import APPS, AppValues, Form, read_values

Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
#: The apps that can be rendered.
NAMES: tuple[str, ...] = tuple(APPS)
HOST_NETWORK: Json = {"networks": [{"mode": "host"}]}


class InvalidApp(ValueError):
    """What was rendered is no app that Marathon would take."""


def render_app(name: str, values: Mapping[str, Any]) -> Json:
    """The app of this name; `values` has the shape of `values.example.json`.

    Raises InvalidValues with one line if a value is unknown or wrong.
    """
    read = read_values(name, values)
    template = (HERE / "marathon" / f"{name}.json.mustache").read_text()
    app = parse_strictly(chevron.render(template, _context(name, read)))
    check_app(app, read.form)
    return app


def check_app(app: Mapping[str, Any], form: Form) -> None:
    """Raise InvalidApp unless Marathon's schema of apps admits this one.

    The schema is that of 1.4: what later versions added is judged here.
    """
    judged = dict(app)
    if form == "networks":
        if judged.pop("networks", None) != HOST_NETWORK["networks"] or "ports" in judged:
            raise InvalidApp("/networks: not the host's network in the form of Marathon 1.5")
        if "network" in judged.get("container", {}).get("docker", {}):
            raise InvalidApp("/container/docker/network: Marathon 1.5 has it in networks")
    for error in sorted(_validator().iter_errors(judged), key=lambda each: each.json_path):
        raise InvalidApp(f"{error.json_path}: {error.message}")


def parse_strictly(text: str) -> Json:
    """The object in a JSON text; a key that stands twice is an error."""
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    if not isinstance(value, dict):
        raise InvalidApp("not a JSON object")
    return value


@cache
def _validator() -> Draft4Validator:
    schema = json.loads((HERE / "schemas" / "marathon-app-1.4.json").read_text())
    return Draft4Validator(schema)


def _object(pairs: list[tuple[str, Any]]) -> Json:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InvalidApp(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return made


def _refuse(constant: str) -> None:
    raise InvalidApp(f"{constant} is no JSON")


def _context(name: str, values: AppValues) -> dict[str, str | bool]:
    """Texts of JSON for the template, which puts each in its place as it is.

    Whatever stands in a value is inside of a JSON string by then: it cannot
    end it, and the template is not read again.
    """
    arguments = [name, *values.arguments]
    ports = [(values.port, "http"), *([(values.dns_port, "dns")] if name == "dns" else [])]
    return {
        "id": _json(values.id),
        "ports_form": values.form == "ipaddress",
        "image": values.image is not None and _json(values.image),
        "arguments": _json(arguments),
        # Mesos gives this to a shell.
        "cmd": _json(shlex.join([values.command, *arguments])),
        "user": values.user is not None and _json(values.user),
        "env": _json(_environment(name, values)),
        "secrets": bool(values.secrets) and _json(_secrets(values)),
        "labels": _json(dict(values.labels)),
        "instances": _json(values.instances),
        "cpus": _json(values.cpus),
        "mem": _json(values.mem),
        "roles": bool(values.accepted_roles) and _json(values.accepted_roles),
        "constraints": _json([("hostname", "UNIQUE"), *values.constraints]),
        "ports": _json([port for port, _ in ports]),
        "port_definitions": _json(
            [
                {"port": port, "protocol": "udp" if use == "dns" else "tcp", "name": use}
                for port, use in ports
            ]
        ),
        "health_checks": _json(_health_checks(values)),
        "minimum_health": _json(_minimum_health(name, values)),
        "kill_grace": _json(values.kill_grace),
        "volumes": _json(_volumes(name, values)),
        # The environment of another user's process is a file of that user's.
        "reads_environments": "proc" in values.locators,
    }


def _environment(name: str, values: AppValues) -> Json:
    """The flags as variables: an argument would show passwords in the process list."""
    prefix = f"MARATHON_CALICO_{name.upper()}"
    flags: dict[str, str | None] = {
        "MARATHON_CALICO_ETCD": " ".join(values.etcd) or None,
        "MARATHON_CALICO_ETCD_CA": values.etcd_ca,
        "MARATHON_CALICO_ETCD_CERT": values.etcd_cert,
        "MARATHON_CALICO_ETCD_KEY": values.etcd_key,
        "MARATHON_CALICO_ETCD_CREDENTIALS": values.etcd_credentials,
        f"{prefix}_LISTEN": f":{values.port}",
    }
    match name:
        case "controller":
            flags[f"{prefix}_MARATHON"] = " ".join(values.marathon) or None
            flags[f"{prefix}_MARATHON_CA"] = values.marathon_ca
            flags[f"{prefix}_MARATHON_CERT"] = values.marathon_cert
            flags[f"{prefix}_MARATHON_KEY"] = values.marathon_key
            flags[f"{prefix}_MARATHON_CREDENTIALS"] = values.marathon_credentials
            flags[f"{prefix}_MESOS_CREDENTIALS"] = values.mesos_credentials
            flags[f"{prefix}_SCALE_AGENTS"] = values.scale_agents
            flags[f"{prefix}_MESOS_MASTER"] = " ".join(values.mesos_masters) or None
        case "agent":
            flags[f"{prefix}_LOCATOR"] = " ".join(values.locators) or None
            flags[f"{prefix}_MESOS_CREDENTIALS"] = values.mesos_credentials
            flags[f"{prefix}_STATE_DIR"] = values.state_dir
            flags[f"{prefix}_SOCKET"] = values.socket
            if "docker" in values.locators:
                flags[f"{prefix}_DOCKER_SOCKET"] = values.docker_socket
        case "dns":
            flags[f"{prefix}_LISTEN_DNS"] = f":{values.dns_port}"
    given = {variable: text for variable, text in flags.items() if text is not None}
    secret = {variable: {"secret": _secret_name(variable)} for variable in values.secrets}
    return {**given, **values.env, **secret}


def _secrets(values: AppValues) -> Json:
    return {_secret_name(name): {"source": source} for name, source in values.secrets.items()}


def _secret_name(variable: str) -> str:
    return variable.lower().replace("_", "-")


def _volumes(name: str, values: AppValues) -> list[Json]:
    """What a container must see of its host, at the host's own paths."""
    read = [values.etcd_ca, values.etcd_cert, values.etcd_key, values.etcd_credentials]
    if name == "controller":
        read += [values.marathon_ca, values.marathon_cert, values.marathon_key]
        read += [values.marathon_credentials]
    if name in ("controller", "agent"):
        read += [values.mesos_credentials]
    shown = {path: "RO" for path in read if path}
    if name == "agent":
        # Plugins that Mesos calls find the socket there, outside of the container.
        shown[str(PurePosixPath(values.socket).parent)] = "RW"
        shown[values.state_dir] = "RW"
        if "docker" in values.locators:
            shown[values.docker_socket] = "RW"
    return [{"hostPath": path, "containerPath": path, "mode": mode} for path, mode in shown.items()]


def _health_checks(values: AppValues) -> list[Json]:
    check = values.health
    if check.protocol == "none":
        return []
    return [
        {
            "protocol": check.protocol,
            "path": "/healthz",
            "portIndex": 0,
            "gracePeriodSeconds": check.grace,
            "intervalSeconds": check.interval,
            "timeoutSeconds": check.timeout,
            "maxConsecutiveFailures": check.failures,
        }
    ]


def _minimum_health(name: str, values: AppValues) -> float:
    """The share of tasks that an upgrade leaves alone.

    One host's port is held by the old task until it has ended, so that at least
    one must end first: with a share that rounds up to all, nothing would move.
    """
    if values.minimum_health is not None:
        return values.minimum_health
    if values.instances < 2:
        return 0
    if name == "controller":
        return 0.5
    # One host at a time; half a task of slack keeps it so when Marathon rounds up.
    return round((values.instances - 1.5) / values.instances, 6)


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
