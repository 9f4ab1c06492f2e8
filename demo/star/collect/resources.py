"""What the collector asks: an id and a URL each, as the original has them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from demo.star.fetch import parse_url

LONGEST_ID = 64
MOST_RESOURCES = 100


class BadResourceError(ValueError):
    """What was given describes no resource; the message says why."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One probe's status, under a name."""

    id: str
    url: str


def parse_resource(raw: object) -> Resource:
    """`{"id": ..., "url": ...}`; raises BadResourceError."""
    if not isinstance(raw, dict):
        raise BadResourceError("a resource is an object with an id and a url")
    name, url = raw.get("id"), raw.get("url")
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_ID or not name.isprintable():
        raise BadResourceError(f"an id is printable text of 1 to {LONGEST_ID} characters")
    if not isinstance(url, str):
        raise BadResourceError("a url is text")
    try:
        parse_url(url)
    except ValueError as error:
        raise BadResourceError(str(error)) from error
    return Resource(name, url)


def parse_resources(text: str) -> tuple[Resource, ...]:
    """A file's JSON array of resources; raises BadResourceError."""
    raw = parse_json(text)
    if not isinstance(raw, list):
        raise BadResourceError("a resources file is a JSON array")
    found = {resource.id: resource for resource in map(parse_resource, raw)}
    if len(found) > MOST_RESOURCES:
        raise BadResourceError(f"there are more than {MOST_RESOURCES} resources")
    return tuple(found.values())


def parse_json(text: str | bytes) -> object:
    """Any JSON; raises BadResourceError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadResourceError(f"it is not JSON: {error}") from error
