"""What a probe knows of its targets: asked side by side, again and again."""

from __future__ import annotations

import time
from functools import partial

from demo.star.fetch import FetchFailedError, fetch, parse_url
from demo.star.repeating import Repeating

EVERY_SECONDS = 0.5
TRY_SECONDS = 1.0
MOST_TARGETS = 256


def parse_urls(text: str) -> tuple[str, ...]:
    """URL,URL,...; raises ValueError."""
    urls = tuple(dict.fromkeys(url.strip() for url in text.split(",") if url.strip()))
    if len(urls) > MOST_TARGETS:
        raise ValueError(f"more than {MOST_TARGETS} URLs")
    for url in urls:
        parse_url(url)
    return urls


class Targets:
    """The newest try of each URL, by its URL."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls
        # Replaced whole, key by key: readers see one try or the next.
        self._tries: dict[str, tuple[bool, float]] = {}

    def run(self) -> None:
        """Ask from now on."""
        for url in self._urls:
            Repeating(partial(self._try, url), EVERY_SECONDS, "target").start()

    def status(self) -> object:
        """`/status` as the original's, and how many seconds ago each try began."""
        now = time.monotonic()
        targets = []
        for url in self._urls:
            reachable, at = self._tries.get(url, (False, None))
            age = None if at is None else round(now - at, 3)
            targets.append({"url": url, "reachable": reachable, "age": age})
        return {"status": {"targets": targets}}

    def _try(self, url: str) -> None:
        began = time.monotonic()
        try:
            # Whatever answers by HTTP is reached.
            fetch(url, TRY_SECONDS, limit=None)
            reached = True
        except FetchFailedError:
            reached = False
        self._tries[url] = (reached, began)
