"""What DC/OS asks of a package and does with it, as far as the tests need it.

The rules are those of Universe's schemas (github.com/mesosphere/universe, in
repo/meta/schema), told in our own words: package-schema.json as of commit
0d1f0044117c, of which only packagingVersion 4.0, v3-resource-schema.json as of
2d50e2217db3, and config-schema.json as of 43861e95ce06. Left out is what our
packages do not have: command lines for operators (`cli`). That a URL is one is
asked by its beginning alone. Other commits may ask for other things.

Templates are rendered as Cosmos does: options over defaults, checked against
config.json, and put into the template raw, without any escaping.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chevron
from jsonschema import Draft4Validator

from charts.render import HERE, parse_strictly

PACKAGES = ("marathon-calico", "marathon-calico-agent")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_LICENSE = {
    "type": "object",
    "properties": {"name": _TEXT, "url": {"type": "string", "pattern": "^https?://"}},
    "required": ["name", "url"],
    "additionalProperties": False,
}
PACKAGE = {
    "type": "object",
    "properties": {
        "packagingVersion": {"enum": ["4.0"]},
        "name": _TEXT,
        "version": {"type": "string", "pattern": "^[-a-zA-Z0-9.]+$"},
        "scm": _TEXT,
        "maintainer": _TEXT,
        "website": _TEXT,
        "description": _TEXT,
        "framework": {"type": "boolean"},
        "upgradesFrom": _TEXTS,
        "downgradesTo": _TEXTS,
        "preInstallNotes": _TEXT,
        "postInstallNotes": _TEXT,
        "postUninstallNotes": _TEXT,
        "tags": {"type": "array", "items": {"type": "string", "pattern": r"^[^\s]+$"}},
        "selected": {"type": "boolean"},
        "licenses": {"type": "array", "items": _LICENSE},
        "minDcosReleaseVersion": {
            "type": "string",
            "pattern": r"^(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*$",
        },
    },
    "required": [
        "packagingVersion",
        "name",
        "version",
        "maintainer",
        "description",
        "tags",
        "upgradesFrom",
        "downgradesTo",
        "minDcosReleaseVersion",
    ],
    "additionalProperties": False,
}
_ALIASES = {"type": "object", "additionalProperties": _TEXT}
RESOURCE = {
    "type": "object",
    "properties": {
        "assets": {
            "type": "object",
            "properties": {
                "uris": _ALIASES,
                "container": {
                    "type": "object",
                    "properties": {"docker": _ALIASES},
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
        "images": {
            "type": "object",
            "properties": {
                "icon-small": _TEXT,
                "icon-medium": _TEXT,
                "icon-large": _TEXT,
                "screenshots": _TEXTS,
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
CONFIG = {
    "type": "object",
    "properties": {"properties": {"type": "object"}},
    "required": ["properties"],
}


class RefusedOptions(ValueError):
    """The options are not what config.json admits."""


def directory_of(package: str) -> Path:
    """Where the newest revision of a package is."""
    return HERE / "universe" / package / "0"


def read(package: str, name: str) -> Any:
    """One of a package's files of JSON."""
    return json.loads((directory_of(package) / name).read_text())


def template_of(package: str) -> str:
    """The template of a package's app."""
    return (directory_of(package) / "marathon.json.mustache").read_text()


def defaults_of(schema: Mapping[str, Any]) -> Any:
    """The defaults of a configuration, nested as its options are."""
    if "properties" not in schema:
        return schema["default"]
    return {key: defaults_of(each) for key, each in schema["properties"].items()}


def render(package: str, options: Mapping[str, Mapping[str, Any]]) -> Any:
    """The app that an installation with these options asks Marathon for."""
    schema = read(package, "config.json")
    merged = defaults_of(schema)
    for group, given in options.items():
        merged[group] = {**merged.get(group, {}), **given}
    for error in Draft4Validator(schema).iter_errors(merged):
        raise RefusedOptions(f"{error.json_path}: {error.message}")
    scope = {**_spelled(merged), "resource": read(package, "resource.json")}
    # Cosmos escapes nothing, with two braces no more than with three.
    raw = re.sub(r"\{\{([\w.-]+)\}\}", r"{{{\1}}}", template_of(package))
    return parse_strictly(chevron.render(raw, scope))


def _spelled(value: Any) -> Any:
    """Numbers as JSON spells them."""
    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    return value if isinstance(value, bool | str) else json.dumps(value)
