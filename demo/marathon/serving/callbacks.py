"""Events as requests to URLs: what `/v2/eventSubscriptions` was for."""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import urllib.parse
from collections.abc import Collection

import msgspec

from demo.marathon.replies.events import Event

log = logging.getLogger(__name__)

CALL_SECONDS = 5.0
MOST_WAITING = 1000


class Callbacks:
    """Tells every URL of every event, each in order; what cannot be told is lost."""

    def __init__(self) -> None:
        self._queues: dict[str, queue.Queue[Event | None]] = {}

    def keep(self, urls: Collection[str]) -> None:
        """Tell these from now on, and no others."""
        for url in self._queues.keys() - set(urls):
            _offer(self._queues.pop(url), None)
        for url in set(urls) - self._queues.keys():
            waiting: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
            self._queues[url] = waiting
            threading.Thread(
                target=_tell, args=(url, waiting), name="callback", daemon=True
            ).start()

    def publish(self, event: Event) -> None:
        """Tell everybody who is kept."""
        for waiting in self._queues.values():
            _offer(waiting, event)


def _offer(waiting: queue.Queue[Event | None], event: Event | None) -> None:
    try:
        waiting.put_nowait(event)
    except queue.Full:
        log.warning("callback too slow")


def _tell(url: str, waiting: queue.Queue[Event | None]) -> None:
    parts = urllib.parse.urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    while (event := waiting.get()) is not None:
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=CALL_SECONDS
        )
        try:
            content = msgspec.json.encode(event.body)
            connection.request("POST", target, content, {"Content-Type": "application/json"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            log.info("callback failed", extra={"url": url, "reason": str(error)})
        finally:
            connection.close()
