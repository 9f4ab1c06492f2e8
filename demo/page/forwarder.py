"""Passes each connection on to the page's present place, for as long as it is that.

It opens a connection of its own for each one that comes in and copies bytes
both ways; what is in them is nothing to it while there is a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable

from demo.page.waiting import respond
from demo.page.where import Place

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
CONNECT_SECONDS = 1.0
HEAD_SECONDS = 5.0
HEAD_LIMIT = 16384
CHUNK = 65536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Forwarder:
    """Serves one listening socket; `find` tells where the page is, and may block."""

    def __init__(self, find: Callable[[], Place | None]) -> None:
        self._find = find
        self._place: Place | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._open: dict[asyncio.Task[None], Place] = {}

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        listener.setblocking(False)
        server = await asyncio.start_server(self._serve, sock=listener)
        async with server:
            while True:
                # Nobody asks where the page is while nobody looks at it.
                if self._open:
                    await self._look()
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> Place | None:
        """Where the page is, as of a moment ago at most."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                self._move_to(await asyncio.to_thread(self._find))
            return self._place

    def _move_to(self, place: Place | None) -> None:
        """A connection to a task that ended would stay silent for ever: it is closed."""
        self._place = place
        for serving, old in list(self._open.items()):
            if old != place:
                serving.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            place = await self._look()
            there = None if place is None else await _connect(place)
            if place is None or there is None:
                await _answer_waiting(reader, writer)
            else:
                await self._pass_on((reader, writer), there, place)
        writer.close()

    async def _pass_on(self, here: Streams, there: Streams, place: Place) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._open[serving] = place
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(here[0], there[1]))
                group.create_task(_copy(there[0], here[1]))
        except* OSError as broken:
            # One end is gone: so is the connection.
            log.debug("connection broke", extra={"why": str(broken.exceptions)})
        finally:
            del self._open[serving]
            there[1].close()


async def _connect(place: Place) -> Streams | None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(place.host, place.port)
    except (OSError, TimeoutError):
        return None


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK):
        target.write(chunk)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


async def _answer_waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEAD_SECONDS):
            while b"\r\n\r\n" not in head and len(head) < HEAD_LIMIT:
                chunk = await reader.read(CHUNK)
                if not chunk:
                    return
                head += chunk
            writer.write(respond(head))
            await writer.drain()
