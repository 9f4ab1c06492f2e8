"""The original's REST interface: resources, and what they answered."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from demo.star.collect.polling import Answer, Poller, TooManyError
from demo.star.collect.resources import BadResourceError, Resource, parse_json, parse_resource


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a JSON document."""

    status: HTTPStatus
    document: object


def answer(poller: Poller, method: str, path: str, body: bytes) -> Reply | None:
    """The reply to one request; None if the path is none of REST's."""
    kind, slash, name = path.removeprefix("/").partition("/")
    name = unquote(name)
    match (method, kind, bool(slash)):
        case ("GET", "resources", False):
            return _ok({"resources": [_resource(each) for each in poller.resources()]})
        case ("POST", "resources", False):
            return _post(poller, body)
        case ("GET", "resources", True):
            found = {each.id: each for each in poller.resources()}.get(name)
            return _none(name) if found is None else _ok({"resource": _resource(found)})
        case ("DELETE", "resources", True):
            return _ok({}) if poller.drop(name) else _none(name)
        case ("GET", "responses", False):
            return _ok({"responses": _responses(poller)})
        case ("GET", "responses", True):
            responses = _responses(poller)
            if name not in responses:
                return _none(name)
            return _ok({"response": {name: responses[name]}})
        case (_, "resources" | "responses", _):
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for {path}")
        case _:
            return None


def _post(poller: Poller, body: bytes) -> Reply:
    """Either form of the original's: the resource itself, or under its name."""
    try:
        raw = parse_json(body)
        wrapped = isinstance(raw, dict) and "resource" in raw
        resource = parse_resource(raw["resource"] if wrapped and isinstance(raw, dict) else raw)
        poller.keep([resource])
    except BadResourceError as error:
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    except TooManyError as error:
        return _error(HTTPStatus.CONFLICT, str(error))
    shown: object = _resource(resource)
    return Reply(HTTPStatus.CREATED, {"resource": shown} if wrapped else shown)


def _responses(poller: Poller) -> dict[str, object]:
    answers = poller.answers()
    return {each.id: _response(each, answers.get(each.id)) for each in poller.resources()}


def _response(resource: Resource, found: Answer | None) -> object:
    if found is None or found.status is None:
        return None
    return {"url": resource.url, "statusCode": found.status, "json": found.json}


def _resource(resource: Resource) -> dict[str, str]:
    return {"id": resource.id, "url": resource.url}


def _ok(document: object) -> Reply:
    return Reply(HTTPStatus.OK, document)


def _none(name: str) -> Reply:
    return _error(HTTPStatus.NOT_FOUND, f"there is no resource {name!r}")


def _error(status: HTTPStatus, message: str) -> Reply:
    return Reply(status, {"message": message})
