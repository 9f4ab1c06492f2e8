"""Reads the versions of an app under which its tasks were started."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from marathon_client.errors import MarathonError, MarathonUnavailable
from marathon_client.models import App, AppId


class Marathon(Protocol):
    """Whom one version of an app is asked of."""

    def app_version(self, app_id: AppId, version: str) -> App | None:
        """One app as it was at a version; None if that is forgotten. Raises MarathonError."""
        ...


@dataclass(frozen=True, slots=True)
class Versions:
    """What was found, as `desired_tasks` takes it; `failure` is why some were not read."""

    found: Mapping[str, App | str | None]
    failure: MarathonError | None = None


def read_versions(marathon: Marathon, app_id: AppId, needed: Collection[str]) -> Versions:
    """Read those that are needed, the newest first; one that fails stands for itself."""
    found: dict[str, App | str | None] = {}
    failure: MarathonError | None = None
    for version in sorted(needed, reverse=True):
        if isinstance(failure, MarathonUnavailable):
            # Each further read might hang as long as this one did.
            found[version] = f"version {version} is not read yet"
            continue
        try:
            found[version] = marathon.app_version(app_id, version)
        except MarathonError as error:
            failure = error
            found[version] = f"version {version} cannot be read: {error}"
    return Versions(found, failure)
