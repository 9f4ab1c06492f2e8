"""The page's forwarder over real sockets, and where it leads."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from demo.page.forwarder import Forwarder
from demo.page.where import Place, collector_among, place_of
from demo.stories.rest import RunningTask

SECONDS = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n"
HTML = REQUEST % b"text/html,*/*"
EVENTS = REQUEST % b"text/event-stream"


def task(
    app: str, started: str = "2016-01-01T00:00:01.000Z", running: bool = True, **more: object
) -> RunningTask:
    return RunningTask(f"{app}@{started}", app, "host-1", started, running, **more)


def test_the_collector_that_started_last_is_shown() -> None:
    old = task("/star-before/collect")
    new = task("/star/collect", "2016-01-01T00:00:02.000Z")
    starting = task("/star-iso/collect", "2016-01-01T00:00:03.000Z", running=False)
    probe = task("/star/probe-a", "2016-01-01T00:00:04.000Z")

    assert collector_among([old, new, starting, probe]) == new
    assert collector_among([starting, probe]) is None


@pytest.mark.parametrize(
    ("shown", "host", "port"),
    [
        pytest.param(task("/x/collect", ports=(9001, 5)), "host-1", 9001, id="on its host"),
        pytest.param(task("/x/collect", addresses=("10.0.0.1",)), "10.0.0.1", 9001, id="reported"),
        pytest.param(task("/x/collect"), "10.0.0.9", 9001, id="known by its name alone"),
    ],
)
def test_a_page_is_where_marathon_or_its_name_says(
    shown: RunningTask, host: str, port: int
) -> None:
    names = {"collect.x.marathon.mesos": "10.0.0.9"}

    assert place_of(shown, names.get) == Place(shown.task_id, host, port)


def test_a_task_without_any_address_shows_nothing_yet() -> None:
    assert place_of(task("/x/collect"), {}.get) is None


class Here:
    """A forwarder on loopback; `place` is where it leads."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        serving = asyncio.ensure_future(Forwarder(lambda: self.place).run(self._listener))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await self.open(request)
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        writer.close()
        return answer

    async def open(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        return reader, writer


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def page(serve: Serve) -> AsyncIterator[Place]:
    """A task that serves a page on loopback."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Place("task", "127.0.0.1", server.sockets[0].getsockname()[1])


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"you said " + await reader.readuntil(b"\r\n\r\n"))
    writer.close()


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"begun")
    # Until the asker goes.
    await reader.read()
    writer.close()


def test_what_is_said_is_passed_on_both_ways() -> None:
    async def scenario() -> None:
        here = Here()
        async with page(echo) as there:
            here.place = there
            async with here.running():
                assert await here.ask(HTML) == b"you said " + HTML

    asyncio.run(scenario())


def test_without_a_collector_a_person_is_told_to_wait_and_a_program_why() -> None:
    async def scenario() -> None:
        here = Here()
        async with here.running():
            waiting, refused = await here.ask(HTML), await here.ask(REQUEST % b"*/*")
            assert waiting.startswith(b"HTTP/1.1 503 ")
            assert b'<meta http-equiv="refresh" content="1">' in waiting
            assert refused.endswith(b'{"message":"no collector runs"}\n')
            # A stream whose answer is an error would never be opened again.
            assert await here.ask(EVENTS) == b""

    asyncio.run(scenario())


def test_a_collector_that_does_not_listen_yet_is_waited_for() -> None:
    async def scenario() -> None:
        here = Here()
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            here.place = Place("task", "127.0.0.1", nobody.getsockname()[1])
        async with here.running():
            assert (await here.ask(HTML)).startswith(b"HTTP/1.1 503 ")

    asyncio.run(scenario())


def test_a_stream_ends_with_the_task_that_it_leads_to() -> None:
    async def scenario() -> None:
        here = Here()
        async with page(stream) as there, page(echo) as next_one:
            here.place = there
            async with here.running():
                reader, writer = await here.open(EVENTS)
                async with asyncio.timeout(SECONDS):
                    assert await reader.readexactly(5) == b"begun"
                    here.place = next_one
                    assert await reader.read() == b""
                writer.close()
                assert (await here.ask(HTML)).startswith(b"you said ")

    asyncio.run(scenario())
