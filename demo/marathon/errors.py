"""A refusal, with the status and the body that Marathon answers."""

from __future__ import annotations

from collections.abc import Sequence

from demo.marathon.era import Era
from demo.mesos.records import Json


class ApiError(Exception):
    """The request is answered by this status and body instead of being done."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status}: {body.get('message')}")
        self.status = status
        self.body = body

    def in_era(self, era: Era) -> Json:
        """The body as servers of that era word it."""
        if self.status != 422 or era.details_errors:
            return self.body
        # Before 1.1 a path was an attribute, and each error a row of its own.
        return {
            "message": "Bean is not valid",
            "errors": [
                {"attribute": detail["path"].strip("/"), "error": error}
                for detail in self.body.get("details", ())
                for error in detail["errors"]
            ],
        }


def invalid_json(details: object) -> ApiError:
    """The body is no JSON, or a value has the wrong JSON type."""
    return ApiError(400, {"message": "Invalid JSON", "details": details})


def wrong_type(field: str, expected: str) -> ApiError:
    """One field of the body has the wrong JSON type."""
    return invalid_json([{"path": f"/{field}", "errors": [f"error.expected.{expected}"]}])


def invalid_object(path: str, *errors: str) -> ApiError:
    """The body is well formed but cannot be."""
    return ApiError(
        422,
        {"message": "Object is not valid", "details": [{"path": path, "errors": list(errors)}]},
    )


def not_found(what: str, name: str) -> ApiError:
    """No such app, task or group."""
    return ApiError(404, {"message": f"{what} '{name}' does not exist"})


def bad_parameter(message: str) -> ApiError:
    """A query or body value that cannot be used."""
    return ApiError(400, {"message": message})


def locked(deployments: Sequence[str]) -> ApiError:
    """An app of the change is still being deployed."""
    return ApiError(
        409,
        {
            "message": "App is locked by one or more deployments. Override with the option "
            "'?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
            "deployments": [{"id": deployment} for deployment in deployments],
        },
    )
