"""All that the collector serves: REST, the page, and the page's live state."""

from __future__ import annotations

from http import HTTPStatus

from demo.star.collect import rest
from demo.star.collect.polling import Poller
from demo.star.serving import Asked, Content, Stream, json_content


class CollectorSite:
    """Answers one request at a time, from any thread."""

    def __init__(self, poller: Poller, facts_url: str) -> None:
        self._poller = poller
        self._facts_url = facts_url

    def start(self) -> None:
        """Follow what is measured from now on."""

    def __call__(self, asked: Asked) -> Content | Stream:
        """The answer to one request."""
        reply = rest.answer(self._poller, asked.method, asked.path, asked.body)
        if reply is not None:
            return json_content(reply.document, reply.status)
        if asked.path == "/status" and asked.method == "GET":
            return json_content({"status": {"targets": []}})
        return json_content({"message": f"there is no {asked.path}"}, HTTPStatus.NOT_FOUND)
