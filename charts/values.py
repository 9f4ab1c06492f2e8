"""What an operator may set, read once: unknown or wrong values name themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

Form = Literal["ipaddress", "networks"]
FORMS: tuple[Form, ...] = ("ipaddress", "networks")
CHECKS = ("HTTP", "MESOS_HTTP", "none")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_APP_ID = re.compile(r"(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)+")
#: The user part of a URL, which other users of the host would see in the process list.
_CREDENTIALS = re.compile(r"://[^/\s]*@")


class InvalidValues(ValueError):
    """A value that no app can be made of; the text is one line that names it."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(each if each.isprintable() else "?" for each in text))


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
        section = _mapping(app, values.get(app, {}))
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


def _text(path: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValues(f"{path}: not a text")
    if "\0" in value:
        raise InvalidValues(f"{path}: no program can be given a NUL character")
    return value


def _word(path: str, value: Any) -> str:
    text = _text(path, value)
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise InvalidValues(f"{path}: there must be no blanks in it")
    return text


def _path(path: str, value: Any) -> str:
    text = _word(path, value)
    if not text.startswith("/") or ":" in text:
        raise InvalidValues(f"{path}: not an absolute path")
    return text


def _url(path: str, value: Any) -> str:
    text = _word(path, value)
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or "," in text:
        raise InvalidValues(f"{path}: not a URL such as http://10.0.0.1:2379")
    return text


def _argument(path: str, value: Any) -> str:
    text = _text(path, value)
    if _CREDENTIALS.search(text):
        raise InvalidValues(f"{path}: a URL with a password belongs into secrets or env")
    return text


def _app_id(path: str, value: Any) -> str:
    text = _text(path, value)
    if not _APP_ID.fullmatch(text):
        raise InvalidValues(f"{path}: not an app id such as /marathon-calico/agent")
    return text


def _number(path: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValues(f"{path}: not a number")
    if value < 0:
        raise InvalidValues(f"{path}: must not be negative")
    return value


def _share(path: str, value: Any) -> float:
    number = _number(path, value)
    if number > 1:
        raise InvalidValues(f"{path}: must be within 0 and 1")
    return number


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def parse(path: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValues(f"{path}: not a whole number")
        if not least <= value <= most:
            raise InvalidValues(f"{path}: must be within {least} and {most}")
        return value

    return parse


def _one_of(*known: str) -> Callable[[str, Any], str]:
    def parse(path: str, value: Any) -> str:
        if value not in known:
            raise InvalidValues(f"{path}: must be one of {', '.join(known)}")
        return str(value)

    return parse


def _optional(parse: Callable[[str, Any], T]) -> Callable[[str, Any], T | None]:
    return lambda path, value: None if value is None else parse(path, value)


def _list(parse: Callable[[str, Any], T]) -> Callable[[str, Any], tuple[T, ...]]:
    def parse_all(path: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidValues(f"{path}: not a list")
        return tuple(parse(f"{path}[{index}]", each) for index, each in enumerate(value))

    return parse_all


def _mapping(path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValues(f"{path}: not an object")
    return value


def _texts(path: str, value: Any) -> Mapping[str, str]:
    for key, text in _mapping(path, value).items():
        if not isinstance(key, str) or not isinstance(text, str) or "\0" in key + text:
            raise InvalidValues(f"{path}.{key}: not a text")
    return dict(value)


def _variables(path: str, value: Any) -> Mapping[str, str]:
    texts = _texts(path, value)
    for name in texts:
        if not _VARIABLE.fullmatch(name):
            raise InvalidValues(f"{path}: {name!r} is no name of an environment variable")
    return texts


def _secrets(path: str, value: Any) -> Mapping[str, str]:
    secrets = _variables(path, value)
    for name, source in secrets.items():
        _text(f"{path}.{name}", source)
    return secrets


def _health(path: str, value: Any) -> HealthCheck:
    given = _mapping(path, value)
    known = {each.name for each in fields(HealthCheck)}
    for key in given:
        if key not in known:
            raise InvalidValues(f"{path}.{key}: there is no such value")
    checks = {
        key: (_one_of(*CHECKS) if key == "protocol" else _whole(1, 3600))(f"{path}.{key}", each)
        for key, each in given.items()
    }
    return HealthCheck(**checks)  # type: ignore[arg-type]  # checked just above


def _constraint(path: str, value: Any) -> tuple[str, ...]:
    words = _list(_text)(path, value)
    if not 2 <= len(words) <= 3:
        raise InvalidValues(f"{path}: not a constraint such as [rack, GROUP_BY]")
    return words


_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "id": _app_id,
    "instances": _whole(0, 100_000),
    "port": _whole(1, 65535),
    "form": _one_of(*FORMS),
    "image": _optional(_word),
    "command": _text,
    "user": _optional(_word),
    "etcd": _list(_url),
    "etcd_ca": _optional(_path),
    "etcd_cert": _optional(_path),
    "etcd_key": _optional(_path),
    "etcd_credentials": _optional(_path),
    "mesos_credentials": _optional(_path),
    "marathon": _list(_url),
    "marathon_ca": _optional(_path),
    "marathon_cert": _optional(_path),
    "marathon_key": _optional(_path),
    "marathon_credentials": _optional(_path),
    "scale_agents": _optional(_app_id),
    "mesos_masters": _list(_url),
    "arguments": _list(_argument),
    "env": _variables,
    "secrets": _secrets,
    "labels": _texts,
    "cpus": _number,
    "mem": _number,
    "accepted_roles": _list(_text),
    "constraints": _list(_constraint),
    "health": _health,
    "minimum_health": _optional(_share),
    "kill_grace": _whole(0, 3600),
    "state_dir": _path,
    "socket": _path,
    "docker_socket": _path,
    "locators": _list(_one_of("mesos", "docker", "proc", "none")),
    "dns_port": _whole(1, 65535),
}
