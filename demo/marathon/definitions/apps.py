"""App definitions: from what a caller sent to what Marathon keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from demo.marathon.definitions.checks import parse_checks
from demo.marathon.definitions.ip_address import with_ip_address
from demo.marathon.definitions.networks import with_networks
from demo.marathon.definitions.pods import is_pod, with_instances
from demo.marathon.era import Era
from demo.marathon.errors import invalid_json, invalid_object, wrong_type
from demo.mesos.records import AppId, Json

SEGMENT = re.compile(
    r"(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|\.|\.\."
)

# Field -> (default, expected JSON types, Marathon's word for them).
_STRING = (str,)
_NUMBER = (int, float)
_FIELDS: Mapping[str, tuple[Any, tuple[type, ...], str]] = {
    "cmd": (None, _STRING, "jsstring"),
    "args": (None, (list,), "jsarray"),
    "user": (None, _STRING, "jsstring"),
    "env": ({}, (dict,), "jsobject"),
    "instances": (1, (int,), "jsnumber"),
    "cpus": (1, _NUMBER, "jsnumber"),
    "mem": (128, _NUMBER, "jsnumber"),
    "disk": (0, _NUMBER, "jsnumber"),
    "gpus": (0, (int,), "jsnumber"),
    "executor": ("", _STRING, "jsstring"),
    "constraints": ([], (list,), "jsarray"),
    "uris": ([], (list,), "jsarray"),
    "fetch": ([], (list,), "jsarray"),
    "storeUrls": ([], (list,), "jsarray"),
    "backoffSeconds": (1, _NUMBER, "jsnumber"),
    "backoffFactor": (1.15, _NUMBER, "jsnumber"),
    "maxLaunchDelaySeconds": (3600, _NUMBER, "jsnumber"),
    "container": (None, (dict,), "jsobject"),
    "healthChecks": ([], (list,), "jsarray"),
    "readinessChecks": ([], (list,), "jsarray"),
    "dependencies": ([], (list,), "jsarray"),
    "upgradeStrategy": (
        {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
        (dict,),
        "jsobject",
    ),
    "labels": ({}, (dict,), "jsobject"),
    "acceptedResourceRoles": (None, (list,), "jsarray"),
    "ipAddress": (None, (dict,), "jsobject"),
    "networks": (None, (list,), "jsarray"),
    "residency": (None, (dict,), "jsobject"),
    "secrets": ({}, (dict,), "jsobject"),
    "taskKillGracePeriodSeconds": (None, _NUMBER, "jsnumber"),
    "requirePorts": (False, (bool,), "jsboolean"),
    "ports": (None, (list,), "jsarray"),
    "portDefinitions": (None, (list,), "jsarray"),
}

# What an era does not know it passes over without a word, as Marathon always
# did with fields that it does not know.
_SINCE: Mapping[str, tuple[int, int]] = {
    "fetch": (0, 15),
    "readinessChecks": (1, 1),
    "portDefinitions": (1, 1),
    "residency": (1, 1),
    "gpus": (1, 3),
    "secrets": (1, 3),
    "taskKillGracePeriodSeconds": (1, 3),
    "networks": (1, 5),
}
_UNTIL_NETWORKS = ("uris", "storeUrls")


def resolve_id(raw: object, base: str) -> AppId:
    """An absolute id; a relative one is taken from `base`."""
    if not isinstance(raw, str):
        raise wrong_type("id", "jsstring")
    text = raw if raw.startswith("/") else f"{base.rstrip('/')}/{raw}"
    parts: list[str] = []
    for part in text.split("/"):
        if not part:
            continue
        if not SEGMENT.fullmatch(part):
            raise invalid_object(
                "/id",
                f"must fully match regular expression '^{SEGMENT.pattern}$'",
            )
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return AppId("/" + "/".join(parts))


def parse_app(raw: object, base: str, era: Era, default_network: str | None = None) -> Json:
    """A whole definition, defaults filled in, in the form of this era."""
    if not isinstance(raw, dict):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
    if "id" not in raw:
        raise invalid_json([{"path": "/id", "errors": ["error.path.missing"]}])
    app: Json = {"id": resolve_id(raw["id"], base)}
    for field, (default, types, expected) in _FIELDS.items():
        if not era.since(*_SINCE.get(field, (0, 0))):
            continue
        value = raw.get(field)
        if value is None:
            value = default.copy() if isinstance(default, list | dict) else default
        elif not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise wrong_type(field, expected)
        app[field] = value
    if app["id"] == "/":
        raise invalid_object("/id", "Path must contain at least one path element")
    if app["instances"] < 0:
        raise invalid_object("/instances", "got -1, expected 0 or more")
    app["upgradeStrategy"] = {
        "minimumHealthCapacity": 1,
        "maximumOverCapacity": 1,
        **app["upgradeStrategy"],
    }
    if (app["cmd"] is None) == (app["args"] is None) and app["container"] is None:
        raise invalid_object(
            "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
        )
    if era.uses_networks:
        for field in _UNTIL_NETWORKS:
            app["fetch"] = [*app["fetch"], *({"uri": uri} for uri in app.pop(field))]
        app = with_networks(app, era, default_network)
    else:
        app = with_ip_address(app, era, default_network)
    app["healthChecks"] = parse_checks(app["healthChecks"], app, era)
    return app


def merge_app(present: Json, update: Json, era: Era, default_network: str | None = None) -> Json:
    """The partial update of an app: given fields replace present ones whole."""
    given = {key: value for key, value in update.items() if value is not None}
    merged = {**present, **given, "id": present["id"]}
    if given.get("ipAddress") is not None or given.get("networks") is not None:
        # An app that changes its kind of network loses the ports of the old kind.
        for field in ("ports", "portDefinitions", "networks", "ipAddress"):
            if field not in given:
                merged.pop(field, None)
        if "container" not in given and given.get("ipAddress") is not None:
            merged["container"] = _without_mappings(present.get("container"))
    elif "ports" in given and "portDefinitions" not in given:
        merged.pop("portDefinitions", None)
    elif "portDefinitions" in given and "ports" not in given:
        merged.pop("ports", None)
    return parse_app(merged, "/", era, default_network)


def _without_mappings(container: Json | None) -> Json | None:
    if container is None:
        return None
    return {key: value for key, value in container.items() if key != "portMappings"}


def same_config(one: Json, other: Json) -> bool:
    """True when nothing but the number of instances differs."""
    if is_pod(one) is not is_pod(other):
        return False
    return with_instances(one, 0) == with_instances(other, 0)
