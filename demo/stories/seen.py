"""What Star itself measured, by its collector's `/responses`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from demo.stories.matrix import Outcome, Pair, Task
from demo.stories.rest import Json

TIMEOUT = 5.0
REACHED = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """Outcomes as Star's probes and its collector tell them.

    `ghosts` says of whom something answered although no such task runs;
    `complete` is whether every pair was tried.
    """

    outcomes: Mapping[Pair, Outcome]
    ghosts: tuple[str, ...]
    complete: bool


def read_responses(star_url: str) -> Json | None:
    """The collector's newest answers by resource; None while there is no collector."""
    with requests.Session() as session:
        # No proxy of this machine concerns a loopback address.
        session.trust_env = False
        try:
            reply = session.get(f"{star_url}/responses", timeout=TIMEOUT)
            found: Json = reply.json()["responses"] if reply.ok else {}
        except (requests.RequestException, ValueError, KeyError):
            return None
    return found


def see(responses: Json, task_by_app: Mapping[str, Task], collector: str) -> Seen:
    """Who reached whom; `collector` is the app whose responses these are."""
    outcomes: dict[Pair, Outcome] = {}
    ghosts = []
    for source_app, url, reached in _tries(responses, collector):
        target = task_by_app.get(app_of(url))
        source = task_by_app.get(source_app)
        if source is None:
            continue
        if target is None:
            if reached:
                ghosts.append(f"{source.name} -> {url}")
            continue
        port = urlsplit(url).port or 80
        outcomes[Pair(source.name, target.name, port)] = (
            Outcome.CONNECTED if reached else Outcome.SILENT
        )
    probes = len(task_by_app) - (collector in task_by_app)
    return Seen(outcomes, tuple(ghosts), len(outcomes) == probes * probes)


def app_of(url: str) -> str:
    """The app that a URL of Mesos-DNS's form names: `probe-a.star.marathon.mesos`."""
    labels = (urlsplit(url).hostname or "").split(".")[:-2]
    return "/" + "/".join(reversed(labels))


def _tries(responses: Json, collector: str) -> Iterator[tuple[str, str, bool]]:
    for response in filter(None, responses.values()):
        reached = response.get("statusCode") == REACHED
        yield collector, response["url"], reached
        if reached:
            for target in _targets(response.get("json")):
                yield app_of(response["url"]), target["url"], target["reachable"]


def _targets(status: Any) -> list[Json]:
    if not isinstance(status, dict):
        return []
    targets: list[Json] = status.get("status", {}).get("targets", [])
    return targets
