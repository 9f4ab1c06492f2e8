"""The few calls of Marathon's REST API that the story makes, as a user would."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

Json = Mapping[str, Any]
TIMEOUT = 10.0


class MarathonRefusedError(Exception):
    """Marathon did not accept a call."""


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task as `/v2/tasks` lists it."""

    task_id: str
    app_id: str
    host: str
    started: str
    running: bool
    #: Those of its host that it was given, and the addresses that Mesos reported.
    ports: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()


class MarathonApi:
    """Marathon at one URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        # No proxy and no password file of this machine's concerns a loopback address.
        self._session.trust_env = False

    def __enter__(self) -> MarathonApi:
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.close()

    def wait(self, seconds: float) -> None:
        """Return once it answers; raises MarathonRefusedError when time is up."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self._session.get(f"{self._url}/ping", timeout=TIMEOUT).ok:
                    return
            except requests.RequestException:
                pass
            if time.monotonic() > deadline:
                raise MarathonRefusedError(f"Marathon at {self._url} does not answer")
            time.sleep(0.05)

    def put_group(self, group: Json) -> None:
        """Create or replace a group with its apps."""
        # Forced: a group that is being deleted may be created anew at once.
        self._call("PUT", f"/v2/groups{group['id']}?force=true", group)

    def delete_group(self, group_id: str) -> None:
        """Delete a group with its apps."""
        self._call("DELETE", f"/v2/groups{group_id}?force=true", None)

    def put_app(self, app_id: str, change: Json) -> None:
        """Change some fields of an app."""
        self._call("PUT", f"/v2/apps{app_id}", change)

    def delete_app(self, app_id: str) -> None:
        """Delete an app."""
        self._call("DELETE", f"/v2/apps{app_id}", None)

    def queue(self) -> Sequence[Json]:
        """What waits to be started: apps, how many tasks of each and, from 1.4 on, why."""
        rows: Sequence[Json] = self._call("GET", "/v2/queue?embed=lastUnusedOffers", None)["queue"]
        return rows

    def deployments(self) -> Sequence[Json]:
        """The deployments that are under way."""
        rows: Sequence[Json] = self._call("GET", "/v2/deployments", None)
        return rows

    def version(self) -> str:
        """Which Marathon it says it is."""
        return str(self._call("GET", "/v2/info", None)["version"])

    def agents(self) -> Sequence[str]:
        """The hosts whose Mesos agent has registered; tasks are placed on these."""
        return [row["hostname"] for row in self._call("GET", "/slaves", None)["slaves"]]

    def tasks(self) -> Sequence[RunningTask]:
        """Every task that Marathon lists, the oldest first."""
        rows = self._call("GET", "/v2/tasks", None)["tasks"]
        tasks = [
            RunningTask(
                row["id"],
                row["appId"],
                row["host"],
                row.get("startedAt") or "",
                # 0.14 and 0.15 tell no state.
                row.get("state", "TASK_RUNNING") == "TASK_RUNNING" and bool(row.get("startedAt")),
                tuple(row.get("ports") or ()),
                tuple(each["ipAddress"] for each in row.get("ipAddresses") or ()),
            )
            for row in rows
        ]
        return sorted(tasks, key=lambda task: (task.started, task.task_id))

    def _call(self, method: str, path: str, body: Json | None) -> Any:
        try:
            response = self._session.request(
                method,
                self._url + path,
                json=body,
                headers={"Accept": "application/json"},
                timeout=TIMEOUT,
            )
            content = response.json()
        except requests.RequestException as error:
            raise MarathonRefusedError(f"{method} {path}: {error}") from error
        if not response.ok:
            raise MarathonRefusedError(f"{method} {path}: {response.status_code} {content}")
        return content
