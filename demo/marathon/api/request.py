"""A request as the handlers see it, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.marathon.errors import invalid_json
from demo.mesos.records import Json

#: Since 1.4.
DEPLOYMENT_HEADER = "Marathon-Deployment-Id"


@dataclass(frozen=True, slots=True)
class Request:
    """One REST request; `path` is decoded and without its query."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    body: bytes
    client: str

    def json(self) -> Any:
        """The body's value; refused if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise invalid_json(str(error)) from error

    def object(self) -> Json:
        """The body's value, which must be an object."""
        value = self.json()
        if not isinstance(value, dict):
            raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A parameter that is true or false."""
        values = self.query.get(name)
        return default if not values else values[-1] == "true"

    def value(self, name: str) -> str | None:
        """A parameter that is given once."""
        values = self.query.get(name)
        return values[-1] if values else None

    def embeds(self) -> frozenset[str]:
        """What `embed=` asks for; `app.`, `apps.` and no prefix are the same."""
        names = self.query.get("embed", ())
        return frozenset(name.removeprefix("apps.").removeprefix("app.") for name in names)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, body and further headers of an answer."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def of_deployment(result: Json) -> dict[str, str]:
    """The header that names the deployment of an accepted mutation."""
    return {DEPLOYMENT_HEADER: result["deploymentId"]}


def deployed(result: Json, status: int = 200) -> Reply:
    """The answer to a mutation that was accepted."""
    return Reply(result, status, of_deployment(result))
