"""What an operator may set, read once: unknown or wrong values name themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from charts.parsers import (
    InvalidValues,
    list_of,
    one_of,
    optional,
    parse_app_id,
    parse_argument,
    parse_constraint,
    parse_mapping,
    parse_number,
    parse_path,
    parse_secrets,
    parse_share,
    parse_text,
    parse_texts,
    parse_url,
    parse_variables,
    parse_word,
    whole_number,
)

Form = Literal["ipaddress", "networks"]
FORMS: tuple[Form, ...] = ("ipaddress", "networks")
CHECKS = ("HTTP", "MESOS_HTTP", "none")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How Marathon finds out whether a task lives; times are in seconds."""

    protocol: str = "HTTP"
    grace: int = 60
    interval: int = 10
    timeout: int = 5
    failures: int = 3


@dataclass(frozen=True, slots=True)
class AppValues:
    """All that goes into one app."""

    id: str
    instances: int
    port: int
    form: Form = "ipaddress"
    image: str | None = None
    command: str = "marathon-calico"
    user: str | None = None
    etcd: tuple[str, ...] = ()
    etcd_ca: str | None = None
    etcd_cert: str | None = None
    etcd_key: str | None = None
    etcd_credentials: str | None = None
    mesos_credentials: str | None = None
    marathon: tuple[str, ...] = ()
    marathon_ca: str | None = None
    marathon_cert: str | None = None
    marathon_key: str | None = None
    marathon_credentials: str | None = None
    scale_agents: str | None = None
    mesos_masters: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: float = 0.1
    mem: float = 256
    accepted_roles: tuple[str, ...] = ()
    constraints: tuple[tuple[str, ...], ...] = ()
    health: HealthCheck = HealthCheck()
    minimum_health: float | None = None
    kill_grace: int = 10
    state_dir: str = "/var/lib/marathon-calico"
    socket: str = "/run/marathon-calico/agent.sock"
    docker_socket: str = "/var/run/docker.sock"
    locators: tuple[str, ...] = ("mesos",)
    dns_port: int = 53


#: Name of an app -> what it is if nothing is said about it.
APPS: Mapping[str, AppValues] = {
    "controller": AppValues(id="/marathon-calico/controller", instances=2, port=9401),
    # Its end changes nothing in the kernel, so there is nothing to wait for.
    "agent": AppValues(id="/marathon-calico/agent", instances=1, port=9402, kill_grace=3),
    "dns": AppValues(id="/marathon-calico/dns", instances=1, port=9403, kill_grace=3, mem=128),
}
#: Values that only one app has.
_ONLY = {
    "marathon": "controller",
    "marathon_ca": "controller",
    "marathon_cert": "controller",
    "marathon_key": "controller",
    "marathon_credentials": "controller",
    "scale_agents": "controller",
    "mesos_masters": "controller",
    "state_dir": "agent",
    "socket": "agent",
    "docker_socket": "agent",
    "locators": "agent",
    "dns_port": "dns",
}
#: Values that all apps have in common; an app's own section may say otherwise.
_COMMON = (
    "form",
    "image",
    "command",
    "user",
    "etcd",
    "etcd_ca",
    "etcd_cert",
    "etcd_key",
    "etcd_credentials",
    "mesos_credentials",
    "env",
    "secrets",
    "labels",
    "accepted_roles",
    "health",
)


def read_values(name: str, values: Mapping[str, Any]) -> AppValues:
    """The values of one app, checked; the other apps' sections are checked as well."""
    common = {key: value for key, value in values.items() if key not in APPS}
    for key in common:
        if key not in _COMMON:
            raise InvalidValues(f"{key}: there is no such value")
    found = None
    for app in APPS:
        section = parse_mapping(app, values.get(app, {}))
        for key in section:
            if key not in _PARSERS or _ONLY.get(key, app) != app:
                raise InvalidValues(f"{app}.{key}: there is no such value")
        parsed = {key: _PARSERS[key](key, value) for key, value in common.items()}
        parsed |= {key: _PARSERS[key](f"{app}.{key}", value) for key, value in section.items()}
        merged = replace(APPS[app], **parsed)
        if app == name:
            found = merged
    if found is None:
        raise InvalidValues(f"{name}: there is no such app; there are {', '.join(APPS)}")
    _check_whole(name, found)
    return found


def _check_whole(name: str, values: AppValues) -> None:
    given = {**values.env, **values.secrets}
    if not values.etcd and "MARATHON_CALICO_ETCD" not in given:
        raise InvalidValues("etcd: name at least one server, such as http://10.0.0.1:2379")
    if name == "controller" and not values.marathon:
        variable = "MARATHON_CALICO_CONTROLLER_MARATHON"
        if variable not in given:
            raise InvalidValues("controller.marathon: name at least one Marathon")
    if values.mesos_masters and values.scale_agents is None:
        raise InvalidValues("controller.mesos_masters: of use only together with scale_agents")
    if bool(values.etcd_cert) != bool(values.etcd_key):
        raise InvalidValues("etcd_cert and etcd_key belong together")
    if bool(values.marathon_cert) != bool(values.marathon_key):
        raise InvalidValues("controller.marathon_cert and marathon_key belong together")
    for variable in given:
        if variable.endswith("_LISTEN"):
            raise InvalidValues(f"{name}: {variable} follows from {name}.port")
    for variable in values.env:
        if variable in values.secrets:
            raise InvalidValues(f"{name}: {variable} stands in env and in secrets")
    if values.image is not None and values.user is not None:
        raise InvalidValues(f"{name}.user: an image brings its own user")
    if name == "agent" and "none" in values.locators and len(set(values.locators)) > 1:
        raise InvalidValues("agent.locators: none stands alone")


def _health(path: str, value: Any) -> HealthCheck:
    given = parse_mapping(path, value)
    known = {each.name for each in fields(HealthCheck)}
    for key in given:
        if key not in known:
            raise InvalidValues(f"{path}.{key}: there is no such value")
    checks = {
        key: (one_of(*CHECKS) if key == "protocol" else whole_number(1, 3600))(
            f"{path}.{key}", each
        )
        for key, each in given.items()
    }
    return HealthCheck(**checks)  # type: ignore[arg-type]  # checked just above


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "id": parse_app_id,
    "instances": whole_number(0, 100_000),
    "port": whole_number(1, 65535),
    "form": one_of(*FORMS),
    "image": optional(parse_word),
    "command": parse_text,
    "user": optional(parse_word),
    "etcd": list_of(parse_url),
    "etcd_ca": optional(parse_path),
    "etcd_cert": optional(parse_path),
    "etcd_key": optional(parse_path),
    "etcd_credentials": optional(parse_path),
    "mesos_credentials": optional(parse_path),
    "marathon": list_of(parse_url),
    "marathon_ca": optional(parse_path),
    "marathon_cert": optional(parse_path),
    "marathon_key": optional(parse_path),
    "marathon_credentials": optional(parse_path),
    "scale_agents": optional(parse_app_id),
    "mesos_masters": list_of(parse_url),
    "arguments": list_of(parse_argument),
    "env": parse_variables,
    "secrets": parse_secrets,
    "labels": parse_texts,
    "cpus": parse_number,
    "mem": parse_number,
    "accepted_roles": list_of(parse_text),
    "constraints": list_of(parse_constraint),
    "health": _health,
    "minimum_health": optional(parse_share),
    "kill_grace": whole_number(0, 3600),
    "state_dir": parse_path,
    "socket": parse_path,
    "docker_socket": parse_path,
    "locators": list_of(one_of("mesos", "docker", "proc", "none")),
    "dns_port": whole_number(1, 65535),
}
