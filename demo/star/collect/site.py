"""All that the collector serves: REST, the page, and the page's live state."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from demo.star.collect import rest
from demo.star.collect.live import Live
from demo.star.collect.polling import Poller
from demo.star.serving import Asked, Content, Stream, json_content, text_content

PAGE = Path(__file__).resolve().parents[1] / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def read_page(folder: Path = PAGE) -> Mapping[str, Content]:
    """The page's files by their paths; nothing else of the disk is ever served."""
    files = {
        f"/{file.name}": Content(HTTPStatus.OK, KINDS[file.suffix], file.read_bytes())
        for file in sorted(folder.iterdir())
        if file.suffix in KINDS
    }
    return {**files, "/": files["/index.html"]}


class CollectorSite:
    """Answers one request at a time, from any thread."""

    def __init__(self, poller: Poller, live: Live, page: Mapping[str, Content]) -> None:
        self._poller = poller
        self._live = live
        self._page = page

    def __call__(self, asked: Asked) -> Content | Stream:
        """The answer to one request."""
        reply = rest.answer(self._poller, asked.method, asked.path, asked.body)
        if reply is not None:
            return json_content(reply.document, reply.status)
        if asked.method != "GET":
            message = {"message": f"{asked.method} is not for {asked.path}"}
            return json_content(message, HTTPStatus.METHOD_NOT_ALLOWED)
        match asked.path:
            case "/events":
                return Stream("text/event-stream; charset=utf-8", self._live.watch)
            case "/state":
                return json_content(self._live.shown())
            case "/why":
                return self._why(parse_qs(asked.query))
            case "/status":
                return json_content({"status": {"targets": []}})
            case path if path in self._page:
                return self._page[path]
            case path:
                return json_content({"message": f"there is no {path}"}, HTTPStatus.NOT_FOUND)

    def _why(self, query: dict[str, list[str]]) -> Content:
        match query:
            case {"from": [sender], "to": [receiver]}:
                return text_content(self._live.why(sender, receiver))
            case _:
                return text_content("from and to are given once each\n", HTTPStatus.BAD_REQUEST)
