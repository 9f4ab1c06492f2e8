"""Which apps wait for a host, by Marathon's queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from demo.star.fetch import FetchFailedError, fetch

#: Whoever asks for facts waits for this too.
QUEUE_WITHIN = 0.5
QUEUE_EVERY = 1.0
LARGEST_QUEUE = 8 << 20


class LaunchQueue:
    """Asks Marathon at most every second; used under its reader's lock."""

    def __init__(self, marathon_url: str) -> None:
        self._url = marathon_url.rstrip("/")
        self._asked: float | None = None
        self._waiting: Mapping[str, str] = {}

    def waiting(self, now: float) -> Mapping[str, str]:
        """What each app that waits waits for, by its id; none if Marathon does not tell."""
        if self._url and (self._asked is None or now - self._asked >= QUEUE_EVERY):
            self._asked = now
            try:
                found = fetch(f"{self._url}/v2/queue", QUEUE_WITHIN, LARGEST_QUEUE)
                self._waiting = parse_queue(json.loads(found.body))
            except (FetchFailedError, ValueError, RecursionError):
                self._waiting = {}
        return self._waiting


def parse_queue(document: object) -> Mapping[str, str]:
    """Of `/v2/queue`, by app; what is not understood is passed over."""
    rows = document.get("queue") if isinstance(document, dict) else None
    waiting = {}
    for row in rows if isinstance(rows, list) else ():
        app = row.get("app") if isinstance(row, dict) else None
        if isinstance(app, dict) and isinstance(app.get("id"), str):
            waiting[app["id"]] = _what_for(app)
    return waiting


def _what_for(app: Mapping[str, object]) -> str:
    ports = [str(port) for port in _ports(app) if port] if app.get("requirePorts") is True else []
    if not ports:
        return "waits in /v2/queue for an offer with room for it"
    return f"waits in /v2/queue for an offer with a free port {', '.join(ports)}"


def _ports(app: Mapping[str, object]) -> Iterator[int]:
    """Host ports as every era writes them."""
    ports, definitions = app.get("ports"), app.get("portDefinitions")
    if isinstance(definitions, list) and definitions:
        ports = [each.get("port") for each in definitions if isinstance(each, dict)]
    for port in ports if isinstance(ports, list) else ():
        if isinstance(port, int):
            yield port
