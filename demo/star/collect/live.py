"""Follows what is measured and told, and tells everybody who watches."""

from __future__ import annotations

import json
import threading
import time
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from demo.star.collect.parties import Own, app_of
from demo.star.collect.polling import Poller
from demo.star.collect.resources import BadResourceError, parse_json
from demo.star.collect.scene import Scene, Seen
from demo.star.collect.told import LARGEST_FACTS, BadFactsError, Facts, parse_facts
from demo.star.fetch import FetchFailedError, fetch, parse_url
from demo.star.repeating import Repeating
from demo.star.serving import Send

LOOK_SECONDS = 0.2
FACTS_SECONDS = 0.5
FACTS_WITHIN = 2.0
#: Agents are asked what their kernels hold, which takes up to five seconds.
WHY_WITHIN = 8.0
LARGEST_REASON = 1 << 16
BEAT_SECONDS = 1.0
MOST_WATCHERS = 32


class Live:
    """The newest state of the page, and who waits for the next."""

    def __init__(self, poller: Poller, facts_url: str, own: Own) -> None:
        self._poller = poller
        self._facts_url = facts_url.rstrip("/")
        self._own = own
        self._scene = Scene()
        self._told: tuple[Facts | None, float] = (None, 0.0)
        self._problem = ""
        self._changed = threading.Condition()
        self._text = ""
        self._shown: dict[str, object] = {}
        self._watchers = threading.BoundedSemaphore(MOST_WATCHERS)

    def start(self) -> None:
        """Look from now on."""
        if self._facts_url:
            Repeating(self._ask_facts, FACTS_SECONDS, "facts").start()
        Repeating(self._look, LOOK_SECONDS, "look").start()

    def watch(self, send: Send) -> None:
        """Server-sent events: the whole state whenever it changed, else a beat each second."""
        if not self._watchers.acquire(blocking=False):
            send(b"event: full\ndata: {}\n\n")
            return
        try:
            last = ""
            while True:
                with self._changed:
                    if self._text == last:
                        self._changed.wait(BEAT_SECONDS)
                    text = self._text
                send(_event("beat", "{}") if text == last else _event("state", text))
                last = text
        finally:
            self._watchers.release()

    def shown(self) -> dict[str, object]:
        """The newest state."""
        return self._shown

    def why(self, sender: str, receiver: str) -> str:
        """What the product says of a pair of parties, else why it says nothing; lines of text."""
        resources = {each.id: each for each in self._poller.resources()}
        tasks = {
            str(node["party"]): str(node["task"])
            for node in reversed(_list(self._shown.get("nodes")))
        }
        if not self._facts_url:
            return "This collector was not told where to ask (--facts).\n"
        for name in (sender, receiver):
            if not tasks.get(name):
                return f"{name!r} has no task that the product knows of.\n"
        port = parse_url(resources[receiver].url).port if receiver in resources else None
        cells = _list(self._shown.get("cells"))
        asked = {(each["from"], each["to"]): each["port"] for each in cells}
        port_asked = asked.get((sender, receiver), port)
        target = tasks[receiver] if port_asked is None else f"{tasks[receiver]}:{port_asked}"
        try:
            query = urlencode({"from": tasks[sender], "to": target})
            found = fetch(f"{self._facts_url}/why?{query}", WHY_WITHIN, LARGEST_REASON)
        except (FetchFailedError, ValueError) as error:
            return f"Nobody tells why: {error}\n"
        return found.body.decode("utf-8", "replace")

    def _ask_facts(self) -> None:
        asked = time.monotonic()
        try:
            found = fetch(f"{self._facts_url}/facts?{self._query()}", FACTS_WITHIN, LARGEST_FACTS)
            if found.status != HTTPStatus.OK:
                raise BadFactsError(f"{self._place()} answers {found.status}")
            self._told = (parse_facts(parse_json(found.body)), asked)
            self._problem = ""
        except (FetchFailedError, BadResourceError, ValueError) as error:
            self._problem = str(error)

    def _place(self) -> str:
        return urlsplit(self._facts_url).netloc

    def _query(self) -> str:
        """Only the apps that are shown, if all of them are known by their names."""
        resources = self._poller.resources()
        apps = [app_of(resource) for resource in resources]
        ports = {parse_url(resource.url).port for resource in resources}
        pairs = [("port", str(port)) for port in sorted(ports)[:16]]
        if apps and all(apps) and self._own.app:
            pairs += [("app", app) for app in sorted({*apps, self._own.app})[:64]]
        return urlencode(pairs)

    def _look(self) -> None:
        facts, asked = self._told
        seen = Seen(
            resources=self._poller.resources(),
            answers=self._poller.answers(),
            wants_facts=bool(self._facts_url),
            facts=facts,
            asked=asked,
            problem=self._problem,
            own=self._own,
        )
        shown = self._scene.look(seen, now=time.monotonic(), clock=time.time())
        text = json.dumps(shown, separators=(",", ":"))
        with self._changed:
            self._shown = shown
            if text != self._text:
                self._text = text
                self._changed.notify_all()


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
